import { float32, int32, PeftError } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import type { Example } from "./examples.ts";

export interface CollateOptions {
  readonly padTokenId: number;
  /** Tokens of every row, T. */
  readonly length: number;
  /** Rows, B; those that are missing are filled up with weight 0. Default: the number of examples. */
  readonly batchSize?: number;
  /** Type of `labels`: int32 class numbers (default), or float32 values for regression. */
  readonly labelType?: "int32" | "float32";
}

/**
 * One batch: `input_ids`, `attention_mask`, `token_type_ids` int32 [B, T], `row_weights` float32 [B] (1, or 0 for a row that
 * only fills up) and, when the examples have labels, `labels` [B].
 */
export function collate(examples: readonly Example[], options: CollateOptions): Record<string, HostTensor> {
  const { length, padTokenId } = options;
  const size = options.batchSize ?? examples.length;
  if (examples.length > size) {
    throw new PeftError("BATCH_TOO_LARGE", `A batch of ${size} rows cannot hold ${examples.length} examples.`);
  }
  const ids = new Int32Array(size * length).fill(padTokenId);
  const mask = new Int32Array(size * length);
  const types = new Int32Array(size * length);
  const weights = new Float32Array(size);
  for (let row = 0; row < size; row++) {
    const example = examples[row];
    const at = row * length;
    // A row without a single visible token would make attention divide by zero.
    mask[at] = 1;
    if (example === undefined) continue;
    if (example.inputIds.length > length) throw tooLong(example.inputIds.length, length);
    ids.set(example.inputIds, at);
    mask.fill(1, at, at + example.inputIds.length);
    if (example.tokenTypeIds !== undefined) types.set(example.tokenTypeIds, at);
    weights[row] = 1;
  }
  return {
    input_ids: int32(ids, [size, length]),
    attention_mask: int32(mask, [size, length]),
    token_type_ids: int32(types, [size, length]),
    row_weights: float32(weights, [size]),
    ...labelsOf(examples, { size, labelType: options.labelType ?? "int32" }),
  };
}

/** All examples have labels, or none has. */
function labelsOf(
  examples: readonly Example[],
  { size, labelType }: { readonly size: number; readonly labelType: "int32" | "float32" },
): Record<string, HostTensor> {
  const labelled = examples.filter((example) => example.label !== undefined).length;
  if (labelled === 0) return {};
  if (labelled < examples.length) {
    throw new PeftError(
      "LABELS_MISSING",
      `${examples.length - labelled} of ${examples.length} examples have no label. Give all of them one, or none.`,
    );
  }
  const values = Array.from({ length: size }, (_, row) => examples[row]?.label ?? 0);
  return { labels: labelType === "int32" ? int32(values, [size]) : float32(values, [size]) };
}

export function tooLong(tokens: number, length: number): PeftError {
  return new PeftError(
    "SEQUENCE_TOO_LONG",
    `A text has ${tokens} tokens, but at most ${length} fit. Truncate when tokenizing, or allow longer batches.`,
  );
}
