import { float32, PeftError, sizeOf } from "@peftjs/core";
import type { Generator, HostTensor, InitContext } from "@peftjs/core";
import { normalTable } from "../virtualTokens/encoder.ts";
import type { PromptTuningConfig } from "./config.ts";

/**
 * The table P [n, H] that training starts from, drawn as torch does with the same seed.
 * @throws PeftError `CONFIG_INVALID` for TEXT without token ids, or ids that the vocabulary lacks.
 */
export function startTable(context: InitContext<PromptTuningConfig>): HostTensor {
  const { site, config, generator, fromFile } = context;
  const { numVirtualTokens: count, promptTuningInit } = config;
  const table = normalTable([count, site.outFeatures], generator);
  if (promptTuningInit === "RANDOM" || fromFile === true) return table;
  const ids =
    promptTuningInit === "TEXT" ? textIds(config, site.inFeatures) : drawnIds(count, site.inFeatures, generator);
  return embeddingRows(context.weight, ids);
}

/** The text's ids, repeated or cut to n of them. */
function textIds({ initTokenIds, numVirtualTokens }: PromptTuningConfig, vocabulary: number): number[] {
  if (initTokenIds === null || initTokenIds.length === 0) {
    throw new PeftError(
      "CONFIG_INVALID",
      'promptTuningInit "TEXT" needs the ids of the text: set initTokenIds, e.g. to the input_ids of a loaded tokenizer.',
    );
  }
  const unknown = initTokenIds.find((id) => id >= vocabulary);
  if (unknown !== undefined)
    throw new PeftError("CONFIG_INVALID", `initTokenIds has ${unknown}, but the vocabulary has ${vocabulary} tokens.`);
  return Array.from({ length: numVirtualTokens }, (_, i) => initTokenIds[i % initTokenIds.length] as number);
}

function drawnIds(count: number, vocabulary: number, generator: Generator): number[] {
  return Array.from({ length: count }, () => generator.next32() % vocabulary);
}

/** Copies of rows of the word embeddings W [V, H]. */
function embeddingRows({ data, shape }: HostTensor, ids: readonly number[]): HostTensor {
  const width = shape[1] as number;
  const rows = new Float32Array(sizeOf([ids.length, width]));
  ids.forEach((id, row) => rows.set(data.subarray(id * width, (id + 1) * width), row * width));
  return float32(rows, [ids.length, width]);
}
