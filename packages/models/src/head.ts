import { PeftError, type Head } from "@peftjs/core";

/** What a user says about the head; the rest comes from config.json. */
export interface HeadOptions {
  /** A head, or its kind. Default: what config.json's `architectures` names; sequence classification when labels are given. */
  readonly head?: Head | Head["kind"];
  /** Names of the classes, in the order of the logits. */
  readonly labels?: readonly string[];
  /** Number of classes; their names are config.json's, or LABEL_0, LABEL_1, … One class is a regression. */
  readonly numLabels?: number;
}

type ConfigJson = Readonly<Record<string, unknown>>;

/** Decides on the head. Throws `LABELS_INVALID` when names and number contradict each other. */
export function resolveHead(configJson: ConfigJson, options: HeadOptions): Head {
  if (typeof options.head === "object") return options.head;
  const kind = options.head ?? kindOf(configJson, options);
  if (kind !== "sequenceClassification") {
    checkNoLabels(kind, options);
    return { kind };
  }
  return { kind, labels: classLabels(configJson, options) };
}

function kindOf(configJson: ConfigJson, { labels, numLabels }: HeadOptions): Head["kind"] {
  if (numLabels === 1) return "regression";
  if (labels !== undefined || numLabels !== undefined) return "sequenceClassification";
  const names = configJson["architectures"];
  const name: unknown = Array.isArray(names) ? names[0] : undefined;
  if (typeof name !== "string") return "sequenceClassification";
  if (name.endsWith("ForMaskedLM") || name.endsWith("ForPreTraining")) return "maskedLM";
  if (name.endsWith("Model")) return "none";
  return configLabels(configJson)?.length === 1 || configJson["problem_type"] === "regression"
    ? "regression"
    : "sequenceClassification";
}

function checkNoLabels(kind: Head["kind"], { labels, numLabels }: HeadOptions): void {
  const count = labels?.length ?? numLabels;
  if (count === undefined || (kind === "regression" && count === 1)) return;
  throw new PeftError(
    "LABELS_INVALID",
    `The head "${kind}" has no classes, but ${count} labels were given. Drop them, or use the head "sequenceClassification".`,
  );
}

function classLabels(configJson: ConfigJson, { labels, numLabels }: HeadOptions): readonly string[] {
  if (labels !== undefined) {
    if (numLabels !== undefined && numLabels !== labels.length) {
      throw new PeftError(
        "LABELS_INVALID",
        `numLabels is ${numLabels} but ${labels.length} labels are named: ${labels.join(", ")}. Give one of the two.`,
      );
    }
    if (labels.length < 1 || new Set(labels).size !== labels.length) {
      throw new PeftError("LABELS_INVALID", `Labels must be distinct and at least one, got [${labels.join(", ")}].`);
    }
    return labels;
  }
  if (numLabels !== undefined && !(Number.isSafeInteger(numLabels) && numLabels > 0)) {
    throw new PeftError("LABELS_INVALID", `numLabels must be a positive integer, got ${numLabels}.`);
  }
  const known = configLabels(configJson);
  if (known !== null && (numLabels === undefined || numLabels === known.length)) return known;
  return Array.from({ length: numLabels ?? 2 }, (_, i) => `LABEL_${i}`);
}

/** The names in `id2label`, by index; null when the file has none. Throws `CONFIG_INVALID` when the indices are not 0…N−1. */
export function configLabels(configJson: ConfigJson): readonly string[] | null {
  const map = configJson["id2label"];
  if (typeof map !== "object" || map === null) {
    const count = configJson["num_labels"];
    return typeof count === "number" && Number.isSafeInteger(count) && count > 0
      ? Array.from({ length: count }, (_, i) => `LABEL_${i}`)
      : null;
  }
  const entries = Object.entries(map as Record<string, unknown>);
  const labels = entries.map((_, i) => (map as Record<string, unknown>)[String(i)]);
  if (labels.length === 0 || labels.some((label) => label === undefined)) {
    throw new PeftError(
      "CONFIG_INVALID",
      `id2label of config.json must number its labels 0…${entries.length - 1}, got ${Object.keys(map).join(", ")}.`,
    );
  }
  return labels.map(String);
}

/** config.json with the head's labels in place of its own. */
export function withHead(configJson: ConfigJson, head: Head): Record<string, unknown> {
  const json: Record<string, unknown> = { ...configJson };
  if (head.kind === "sequenceClassification") {
    json["id2label"] = Object.fromEntries(head.labels.map((label, i) => [String(i), label]));
    json["label2id"] = Object.fromEntries(head.labels.map((label, i) => [label, i]));
    if (json["problem_type"] === "regression" || head.labels.length > 1) delete json["problem_type"];
  }
  if (head.kind === "regression") {
    if (configLabels(json)?.length !== 1) {
      json["id2label"] = { 0: "LABEL_0" };
      json["label2id"] = { LABEL_0: 0 };
    }
    json["problem_type"] = "regression";
  }
  return json;
}
