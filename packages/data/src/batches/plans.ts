import { createGenerator, PeftError } from "@peftjs/core";
import type { Generator, HostTensor } from "@peftjs/core";
import type { BatchRows } from "./buckets.ts";
import { bucketRows, cutBatches, DEFAULT_BUCKETS } from "./buckets.ts";
import { collate } from "./collate.ts";
import type { Example } from "./examples.ts";
import { mixSeeds } from "./seeds.ts";

export interface PlanOptions {
  readonly batchSize: number;
  readonly padTokenId: number;
  /** Lengths that batches are padded to. Default: `DEFAULT_BUCKETS`. */
  readonly bucketLengths?: readonly number[];
  readonly labelType?: "int32" | "float32";
}

/** Batches for training: batch `index` of the run (through all epochs) is a function of the examples, the seed and the index. */
export interface BatchPlan {
  readonly batchesPerEpoch: number;
  batchAt(index: number): Record<string, HostTensor>;
  /** The same examples in batches of `rows`, in an order of their own. */
  divided(options: { readonly rows: number; readonly seed: number }): BatchPlan;
}

/** Batches that hold every example once. */
export interface EvaluationBatches {
  readonly batches: number;
  batchAt(index: number): {
    readonly batch: Record<string, HostTensor>;
    /** Number of each row's example; −1 for a row that only fills up. */
    readonly rows: readonly number[];
  };
}

/** Rows are shuffled within their length, then batches among each other, anew in every epoch. */
export function createBatchPlan(
  examples: readonly Example[],
  options: PlanOptions & { readonly seed: number },
): BatchPlan {
  checkSizes(examples, options);
  const buckets = bucketRows(examples, options.bucketLengths ?? DEFAULT_BUCKETS);
  const batchesPerEpoch = Math.ceil(examples.length / options.batchSize);
  // Only the latest epoch is kept; any other is made again from the seed.
  let current: { readonly epoch: number; readonly batches: readonly BatchRows[] } | undefined;
  const batchesOf = (epoch: number): readonly BatchRows[] => {
    if (current?.epoch !== epoch) {
      current = {
        epoch,
        batches: shuffledBatches(buckets, { batchSize: options.batchSize, seed: options.seed, epoch }),
      };
    }
    return current.batches;
  };
  return {
    batchesPerEpoch,
    batchAt: (index) =>
      collateRows(
        examples,
        batchesOf(Math.floor(index / batchesPerEpoch))[index % batchesPerEpoch] as BatchRows,
        options,
      ),
    divided: ({ rows, seed }) => createBatchPlan(examples, { ...options, batchSize: rows, seed }),
  };
}

/** In the order of the rows' lengths; no randomness. */
export function createEvaluationBatches(examples: readonly Example[], options: PlanOptions): EvaluationBatches {
  checkSizes(examples, options);
  const batches = cutBatches(bucketRows(examples, options.bucketLengths ?? DEFAULT_BUCKETS), options.batchSize);
  return {
    batches: batches.length,
    batchAt: (index) => {
      const batch = batches[index] as BatchRows;
      return {
        batch: collateRows(examples, batch, options),
        rows: Array.from({ length: options.batchSize }, (_, i) => batch.rows[i] ?? -1),
      };
    },
  };
}

function shuffledBatches(
  buckets: readonly BatchRows[],
  { batchSize, seed, epoch }: { readonly batchSize: number; readonly seed: number; readonly epoch: number },
): BatchRows[] {
  const generator = createGenerator(mixSeeds(seed, epoch));
  const shuffled = buckets.map(({ length, rows }) => ({ length, rows: permuted(rows, generator) }));
  return permuted(cutBatches(shuffled, batchSize), generator);
}

function permuted<T>(items: readonly T[], generator: Generator): T[] {
  return Array.from(generator.permutation(items.length), (index) => items[index] as T);
}

function collateRows(
  examples: readonly Example[],
  { rows, length }: BatchRows,
  options: PlanOptions,
): Record<string, HostTensor> {
  const { padTokenId, batchSize, labelType = "int32" } = options;
  return collate(
    rows.map((row) => examples[row] as Example),
    { padTokenId, length, batchSize, labelType },
  );
}

function checkSizes(examples: readonly Example[], { batchSize }: PlanOptions): void {
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new PeftError("INVALID_BATCH_SIZE", `The batch size must be a positive whole number, got ${batchSize}.`);
  }
  if (examples.length === 0)
    throw new PeftError("DATA_EMPTY", "There are no examples to make batches of. Expected at least one row.");
}
