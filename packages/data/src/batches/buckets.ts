import { PeftError } from "@peftjs/core";
import { tooLong } from "./collate.ts";
import type { Encoded } from "./examples.ts";

/** Lengths that batches are padded to: each costs one compiled program. */
export const DEFAULT_BUCKETS: readonly number[] = [16, 32, 64, 128, 256, 512];

/** Rows of one batch and their padded length. */
export interface BatchRows {
  readonly length: number;
  /** Numbers of the examples. */
  readonly rows: readonly number[];
}

/** Row numbers by the smallest length that holds them; lengths without rows are left out. */
export function bucketRows(examples: readonly Encoded[], lengths: readonly number[]): BatchRows[] {
  const sorted = [...new Set(lengths)].sort((a, b) => a - b);
  const longest = sorted.at(-1);
  if (longest === undefined || !sorted.every((length) => Number.isInteger(length) && length > 0)) {
    throw new PeftError(
      "INVALID_BUCKETS",
      `Batch lengths must be positive whole numbers, got [${lengths.join(", ")}]. Example: [16, 32, 64, 128].`,
    );
  }
  const buckets = sorted.map((length) => ({ length, rows: [] as number[] }));
  examples.forEach(({ inputIds }, row) => {
    const bucket = buckets.find(({ length }) => inputIds.length <= length);
    if (bucket === undefined) throw tooLong(inputIds.length, longest);
    bucket.rows.push(row);
  });
  return buckets.filter(({ rows }) => rows.length > 0);
}

/**
 * Cuts buckets into batches, shortest first. What is left of a bucket moves up to the next one, so that only the very last batch
 * can be incomplete and their number is ⌈rows / batchSize⌉ whatever the order of the rows.
 */
export function cutBatches(buckets: readonly BatchRows[], batchSize: number): BatchRows[] {
  const batches: BatchRows[] = [];
  let left: readonly number[] = [];
  buckets.forEach(({ length, rows }, index) => {
    const all = [...left, ...rows];
    const last = index === buckets.length - 1;
    const end = last ? all.length : all.length - (all.length % batchSize);
    for (let at = 0; at < end; at += batchSize)
      batches.push({ length, rows: all.slice(at, Math.min(at + batchSize, end)) });
    left = all.slice(end);
  });
  return batches;
}
