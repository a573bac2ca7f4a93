import { openTextModel, registeredMethods, schemeOf } from "@peftjs/bench";
import type { TextModel } from "@peftjs/bench";
import { loadAdapter, PeftError, PeftModel } from "@peftjs/core";
import type { LabelScheme } from "@peftjs/data";
import { fromPretrained } from "@peftjs/models";
import type { Frozen } from "@peftjs/models";
import { readAdapterInfo, schemeOfInfo } from "./adapterInfo.ts";

export interface AdaptedOptions {
  readonly model: string;
  /** None: the model folder has a trained head of its own. */
  readonly adapter?: string | undefined;
  /** Names of the labels where nothing else says them. */
  readonly labels?: readonly string[] | undefined;
  readonly maxLength?: number | undefined;
  /** How weights are held in memory. Default: float32. */
  readonly frozen?: Frozen | undefined;
}

/** A model folder, with an adapter when one is named, ready to be run. */
export async function openAdapted(
  options: AdaptedOptions,
): Promise<{ readonly text: TextModel; readonly model: PeftModel }> {
  const info = options.adapter === undefined ? null : await readAdapterInfo(options.adapter);
  const scheme = chooseScheme(options.labels, info === null ? null : schemeOfInfo(info)) ?? (await ownScheme(options));
  const text = await openTextModel({
    folder: options.model,
    scheme,
    maxLength: options.maxLength ?? info?.maxLength,
    // The adapter brings its own head; the folder's, if there is one, may be another.
    newHead: options.adapter !== undefined,
    frozen: options.frozen,
  });
  const model = new PeftModel(text.base);
  if (options.adapter === undefined) requireTrainedHead(text.base, options.model);
  else await loadAdapter(model, { dir: options.adapter, methods: registeredMethods() });
  return { text, model };
}

/** Labels named by the user must be as many as the adapter was trained with. */
function chooseScheme(labels: readonly string[] | undefined, known: LabelScheme | null): LabelScheme | null {
  if (labels === undefined) return known;
  if (known !== null && known.labels.length !== labels.length) {
    throw new PeftError(
      "LABEL_COUNT_MISMATCH",
      `--labels names ${labels.length} labels (${labels.join(", ")}), but the adapter was trained with ${known.labels.length}: ${known.labels.join(", ") || "a regression"}. Leave --labels out.`,
    );
  }
  return { kind: "classification", labels };
}

async function ownScheme({ model: folder, adapter }: AdaptedOptions): Promise<LabelScheme> {
  const scheme = schemeOf(await fromPretrained(folder));
  if (scheme !== null) return scheme;
  if (adapter !== undefined) {
    throw new PeftError(
      "LABELS_UNKNOWN",
      `Neither ${adapter} nor ${folder} names the labels. Name them in the order of the logits: --labels negative,positive.`,
    );
  }
  throw new PeftError(
    "HEAD_MISSING",
    `${folder} has no classification head. Name an adapter with --adapter, or train one with \`peftjs train\`.`,
  );
}

/** Predictions of a head that was just drawn would look like results. */
function requireTrainedHead(base: TextModel["base"], folder: string): void {
  const missing =
    "report" in base ? (base as { readonly report: { readonly missing: readonly string[] } }).report.missing : [];
  if (missing.length === 0) return;
  throw new PeftError(
    "HEAD_MISSING",
    `${folder} has no trained head (${missing.join(", ")} would be random). Name an adapter with --adapter, or train one with \`peftjs train\`.`,
  );
}
