import { join } from "node:path";
import {
  writeFolderAtomic,
  writeFileAtomic,
  writeSafetensors,
  type BaseModel,
  type Head,
  type StoredTensor,
} from "@peftjs/core";
import { withHead } from "../head.ts";

export type SavedDType = "float32" | "float16" | "bfloat16";

export interface SavePretrainedOptions {
  /** Type of the weights in the file, rounded to nearest even. Default float32. */
  readonly dtype?: SavedDType;
}

const FILE_DTYPE = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const;

/**
 * Writes `config.json` and `model.safetensors` as the Python library's `save_pretrained` does; its Auto classes load the folder
 * as it is. Tied parameters are written once. The folder appears complete or not at all.
 */
export async function savePretrained(
  model: BaseModel,
  dir: string,
  { dtype = "float32" }: SavePretrainedOptions = {},
): Promise<void> {
  await writeFolderAtomic(dir, async (temporary) => {
    await writeSafetensors(join(temporary, "model.safetensors"), ownTensors(model), { dtype: FILE_DTYPE[dtype] });
    await writeFileAtomic(join(temporary, "config.json"), `${JSON.stringify(savedConfig(model, dtype), null, 2)}\n`);
  });
}

function ownTensors({ parameters }: Pick<BaseModel, "parameters">): Map<string, StoredTensor> {
  const seen = new Set<StoredTensor>();
  return new Map([...parameters].filter(([, tensor]) => !seen.has(tensor) && seen.add(tensor)));
}

function savedConfig(
  { configJson, head, modelType, parameters }: BaseModel,
  dtype: SavedDType,
): Record<string, unknown> {
  // `dtype` is the newer name of `torch_dtype`; the older one is understood by all versions.
  const { dtype: _newer, ...rest } = withHead(configJson, head);
  const config = { ...rest, architectures: [className(modelType, head)], model_type: modelType, torch_dtype: dtype };
  const decoderStandsAlone = [...ownTensors({ parameters }).keys()].some((name) => name.endsWith(".decoder.weight"));
  // A reader that is not told so would tie the decoder to the word embeddings again.
  const predictsTokens = head.kind === "maskedLM" || head.kind === "preTraining";
  return predictsTokens && decoderStandsAlone ? { ...config, tie_word_embeddings: false } : config;
}

const CLASS_PREFIX: Readonly<Record<string, string>> = {
  bert: "Bert",
  roberta: "Roberta",
  "xlm-roberta": "XLMRoberta",
  "roberta-prelayernorm": "RobertaPreLayerNorm",
};

const CLASS_SUFFIX: Readonly<Record<Head["kind"], string>> = {
  sequenceClassification: "ForSequenceClassification",
  regression: "ForSequenceClassification",
  maskedLM: "ForMaskedLM",
  preTraining: "ForPreTraining",
  none: "Model",
};

/** Name of the Python class; a family it does not list is named after its model type. */
function className(modelType: string, head: Head): string {
  const words = modelType.split(/[-_]/u).map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return (CLASS_PREFIX[modelType] ?? words.join("")) + CLASS_SUFFIX[head.kind];
}
