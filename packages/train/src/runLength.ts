import { PeftError } from "@peftjs/core";
import type { TrainingConfig } from "./config.ts";

/** How long a run is, in optimizer steps. */
export interface RunLength {
  readonly totalSteps: number;
  readonly warmupSteps: number;
  /** Passes over the data done after `step` steps, as a fraction. */
  epochAt(step: number): number;
  /** Whether a pass ended within this step. */
  endsEpoch(step: number): boolean;
}

/** A step takes `accumulationSteps` batches from a stream that runs through all epochs; it may span two of them. */
export function lengthOf(config: TrainingConfig, batchesPerEpoch: number): RunLength {
  if (batchesPerEpoch < 1) {
    throw new PeftError(
      "DATA_EMPTY",
      `The training plan has ${batchesPerEpoch} batches in an epoch. At least one is needed: give it more rows or smaller batches.`,
    );
  }
  const { accumulationSteps } = config;
  const totalSteps =
    config.maxSteps ?? Math.max(1, Math.ceil((config.epochs * batchesPerEpoch) / accumulationSteps - 1e-9));
  const passes = (step: number): number => Math.floor((step * accumulationSteps) / batchesPerEpoch);
  return {
    totalSteps,
    warmupSteps: config.warmupSteps ?? Math.ceil(config.warmupRatio * totalSteps),
    epochAt: (step) => (step * accumulationSteps) / batchesPerEpoch,
    endsEpoch: (step) => passes(step) > passes(step - 1),
  };
}
