import type { Adapter } from "../adapter/adapter.ts";
import type { Method, WireField } from "../method/method.ts";
import type { BaseModel } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import { isBias, isInBlocks, isInModules, matchesTargets, type TargetConfig } from "../targeting.ts";

type Json = Record<string, unknown>;

/** Written by every config of the Python library; the method's fields come on top. */
const ALWAYS: Readonly<Json> = {
  auto_mapping: null,
  base_model_name_or_path: null,
  inference_mode: true,
  peft_type: null,
  revision: null,
  task_type: null,
};

/** Heads that the Python library adds to `modules_to_save` for a task. */
const HEADS: Readonly<Record<string, readonly string[]>> = {
  SEQ_CLS: ["classifier", "score"],
  TOKEN_CLS: ["classifier", "score"],
  QUESTION_ANS: ["qa_outputs"],
};

/** Longer lists of targets are written as the suffixes that name the same layers. */
const MANY_TARGETS = 20;

/**
 * adapter_config.json of an adapter. Precedence, lowest first: common keys, the method's constants, keys of the file it was loaded
 * from, its config. Targets are written as the Python library resolves them: an explicit list of suffixes, or the regular expression.
 */
export function toAdapterConfig(base: BaseModel, adapter: Adapter): Json {
  const { wire } = adapter.method;
  const json: Json = { ...ALWAYS, ...describeBase(base, adapter), ...wire.constants, ...adapter.configJson };
  for (const { field, key, write } of wireFields(adapter.method)) {
    const value = (adapter.config as Json)[field];
    if (value === undefined) continue;
    const written = write(value);
    if (isSet(written) || key in adapter.configJson || wire.whenSet?.includes(key) !== true) json[key] = written;
  }
  json["peft_type"] = wire.peftType;
  json["inference_mode"] = true;
  json["modules_to_save"] = modulesToSave(base, adapter);
  if (adapter.layers.some(({ site }) => site.kind !== "prompt")) json["target_modules"] = targetModules(base, adapter);
  return json;
}

/** The config fields of a file, and the keys to write back as they are. A null means the field's default. */
export function fromAdapterConfig(
  method: Method,
  json: Readonly<Json>,
): { readonly config: Json; readonly rest: Json } {
  const fields = wireFields(method);
  const given = fields.filter(({ key }) => json[key] !== null && json[key] !== undefined);
  const saved = fields.find(({ key }) => key === "modules_to_save")?.field;
  // Here, nothing said means the head; there, only for some tasks.
  const none = saved !== undefined && !isSet(json["modules_to_save"]) && HEADS[String(json["task_type"])] === undefined;
  const optional = method.wire.whenSet ?? [];
  const kept = json["modules_to_save"] === null ? [...optional, "modules_to_save"] : optional;
  const known = fields.map(({ key }) => key).filter((key) => !kept.includes(key));
  const dropped = new Set([...known, "peft_type", "inference_mode", "runtime_config"]);
  return {
    config: {
      ...Object.fromEntries(given.map(({ field, key, read }) => [field, read(json[key])])),
      ...(none ? { [saved]: [] } : {}),
    },
    rest: Object.fromEntries(Object.entries(json).filter(([key]) => !dropped.has(key))),
  };
}

/** Of the keys that an adapter_config.json was loaded with, those that every type of file has. */
export function commonKeys(json: Readonly<Json>): Json {
  return Object.fromEntries(Object.entries(json).filter(([key]) => key in ALWAYS));
}

/** Whether a value says something: it is not null, false or empty. */
export function isSet(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return value !== null && value !== undefined && value !== false && value !== "";
}

/**
 * The config with what it says of the layers' storage made true: files have a key for it, and readers go by it. Embeddings are
 * always stored in one way and do not count.
 */
export function withLayout<Config extends object>(method: Method, config: Config, sites: readonly LayerSite[]): Config {
  const field = layoutField(method);
  const linear = sites.filter(({ kind }) => kind === "linear");
  if (field === undefined || linear.length === 0) return config;
  return { ...config, [field]: linear.every(({ layout }) => layout === "in_out") };
}

/** The config field behind that key, where a method's files have it. */
export function layoutField(method: Method): string | undefined {
  return wireFields(method).find(({ key }) => key === "fan_in_fan_out")?.field;
}

/** JSON as Python's `json.dumps(…, indent=2, sort_keys=True)` writes it, except that whole floats have no `.0`. */
export function serializeConfig(json: Readonly<Json>): string {
  const text = JSON.stringify(sorted(json), null, 2);
  return text.replace(/[\u0080-\uffff]/gu, (character) =>
    [...Array(character.length).keys()].map((i) => escape(character.charCodeAt(i))).join(""),
  );
}

function escape(code: number): string {
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}

interface FieldOnDisk {
  readonly field: string;
  readonly key: string;
  readonly write: (value: unknown) => unknown;
  readonly read: (json: unknown) => unknown;
}

function wireFields(method: Method): FieldOnDisk[] {
  const asItIs = (value: unknown): unknown => value;
  const entries = Object.entries(method.wire.config as Readonly<Record<string, WireField | undefined>>);
  return entries.flatMap(([field, wire]) => {
    if (wire === undefined) return [];
    return [typeof wire === "string" ? { field, key: wire, write: asItIs, read: asItIs } : { field, ...wire }];
  });
}

/** Python adds a task's heads to `modules_to_save` by itself and expects them in the file: without one it may not know the task. */
function describeBase(base: BaseModel, { overrides }: Adapter): Json {
  const { kind } = base.head;
  // Of a head whose biases alone learn, with those of the whole model, a reader would miss the weights.
  const ownsHead = [...overrides].some(
    ([name, own]) => own.kind !== "replaced" && isInModules(name, HEADS["SEQ_CLS"] ?? []) && !isBias(name),
  );
  const classifies = (kind === "sequenceClassification" || kind === "regression") && ownsHead;
  const architecture = (base.configJson["architectures"] as readonly unknown[] | undefined)?.[0];
  const module = base.modelType.replaceAll("-", "_");
  const mapping = {
    base_model_class: architecture ?? null,
    parent_library: `transformers.models.${module}.modeling_${module}`,
  };
  return {
    base_model_name_or_path: base.name,
    task_type: classifies ? "SEQ_CLS" : null,
    auto_mapping: classifies ? null : mapping,
  };
}

function modulesToSave(base: BaseModel, adapter: Adapter): readonly string[] | null {
  const given = (adapter.config as { readonly modulesToSave?: readonly string[] | null }).modulesToSave ?? [];
  // A file that leaves a task's heads to its reader stays so.
  if (given.length === 0 && adapter.configJson["modules_to_save"] === null) return null;
  const taskType = adapter.configJson["task_type"] ?? describeBase(base, adapter)["task_type"];
  const names = [...new Set([...given, ...adapter.modulesToSave, ...(HEADS[String(taskType)] ?? [])])];
  return names.length === 0 ? null : names;
}

function targetModules(base: BaseModel, adapter: Adapter): readonly string[] | string {
  const written = adapter.method.wire.config as { readonly [K in keyof TargetConfig]?: WireField };
  const own = adapter.config as Partial<TargetConfig>;
  const { targetModules: given = null, layersToTransform = null, layersPattern = null, excludeModules = null } = own;
  if (written.targetModules !== undefined && given !== null) {
    // "all-linear" means less to a reader that knows other layers, and Python filters the layers of lists alone.
    const explicit =
      typeof given === "string"
        ? given.toLowerCase() !== "all-linear" && !isSet(layersToTransform)
        : given.length < MANY_TARGETS;
    if (explicit) return given;
  }
  // Layers that the file rules out by other keys may share a suffix with a target.
  const leftOut = (site: LayerSite): boolean => {
    if (isInModules(site.path, adapter.modulesToSave)) return true;
    if (written.excludeModules !== undefined && excludeModules !== null && matchesTargets(excludeModules, site.path))
      return true;
    return written.layersToTransform !== undefined && !isInBlocks({ layersToTransform, layersPattern }, site);
  };
  const targets = adapter.layers.map(({ site }) => site.path);
  const others = base.sites.filter((site) => !targets.includes(site.path) && !leftOut(site)).map(({ path }) => path);
  return shortestSuffixes(targets, others);
}

/** For each target the shortest tail that names none of the others, in alphabetical order. */
export function shortestSuffixes(targets: readonly string[], others: readonly string[]): string[] {
  const suffixes = targets.map((path) => {
    const parts = path.split(".");
    const tails = parts.map((_, i) => parts.slice(parts.length - 1 - i).join("."));
    return tails.find((tail) => !others.some((other) => matchesTargets([tail], other))) ?? path;
  });
  return [...new Set(suffixes)].sort();
}
