import { join } from "node:path";
import { isInModules, openSafetensors, readJsonObject, type BaseModel } from "@peftjs/core";
import { resolveHead, withHead, type HeadOptions } from "../head.ts";
import { createModel, layoutOf } from "../model.ts";
import { architectureOf, builtInArchitectures, type ArchitectureRegistry } from "../registry.ts";
import { frozenPlan, type Frozen } from "./frozen.ts";
import { loadWeights, type LoadReport } from "./loadWeights.ts";

export interface FromPretrainedOptions extends HeadOptions {
  /** Seed of what the file lacks: a fresh head. */
  readonly seed?: number;
  /** Draw parameters fresh whose shape differs from the file's, e.g. a classifier of another number of labels. */
  readonly ignoreMismatchedSizes?: boolean;
  /** How weights are held in memory. Default: float32. What the file lacks, and whatever is trained, is float32. */
  readonly frozen?: Frozen;
  /** Name of the model, written to `base_model_name_or_path`. Default: the folder as given. */
  readonly name?: string;
  readonly architectures?: ArchitectureRegistry;
}

/** A model read from a folder, and what did not come from there. */
export interface PretrainedModel extends BaseModel {
  readonly report: LoadReport;
}

/**
 * Reads a Hugging Face folder: `config.json` with `model.safetensors` or its shards. float16 and bfloat16 become float32 unless
 * `frozen` says otherwise; tensors are read and converted one at a time.
 * @throws PeftError `FILE_NOT_FOUND`, `JSON_INVALID`, `SAFETENSORS_INVALID`, `CONFIG_INVALID`, `ARCHITECTURE_UNKNOWN`,
 * `WEIGHTS_MISSING`, `SHAPE_MISMATCH`, `LABELS_INVALID`, `LABEL_COUNT_MISMATCH`, `DTYPE_UNSUPPORTED`, `NOT_FINITE` for weights that
 * eight bits cannot hold, and as `frozenPlan`.
 */
export async function fromPretrained(folder: string, options: FromPretrainedOptions = {}): Promise<PretrainedModel> {
  const configJson = await readJsonObject(join(folder, "config.json"));
  const architecture = architectureOf(configJson, options.architectures ?? builtInArchitectures);
  const head = resolveHead(configJson, options);
  const { seed = 0, ignoreMismatchedSizes = false, frozen = "float32" } = options;
  const layout = layoutOf(architecture, configJson, head);
  const plan = frozenPlan(frozen, layout);
  const file = await openSafetensors(folder);
  try {
    const { parameters, report } = await loadWeights(file, {
      architecture,
      specs: layout.specs,
      head,
      seed,
      ignoreMismatchedSizes,
      plan,
      folder,
    });
    const model = createModel({
      architecture,
      configJson: withHead(configJson, head),
      head,
      name: options.name ?? folder,
      parameters,
    });
    return { ...model, headModules: withFreshModules(model.headModules, report), report };
  } finally {
    await file.close();
  }
}

/**
 * What the file lacks was drawn at random, so an adapter must bring it along like the head: e.g. the pooler of a model that was
 * pretrained without one.
 */
function withFreshModules(headModules: readonly string[], { missing }: LoadReport): readonly string[] {
  const modules = missing
    .map((name) => name.slice(0, name.lastIndexOf(".")))
    .filter((path) => !isInModules(path, headModules));
  return [...headModules, ...new Set(modules)];
}
