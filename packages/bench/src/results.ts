import { FROZEN_TYPES } from "@peftjs/models";
import { z } from "zod";
import { FrozenSetting } from "./frozen.ts";

/** One run of the comparison, as written to results.json. Figures of a run that failed are null. */
export const RunResult = z.object({
  method: z.string(),
  task: z.string(),
  seed: z.int(),
  /** Name of the score, e.g. "accuracy". */
  metric: z.string(),
  /** On the test split, at the best dev epoch. Between −1 and 1. */
  score: z.number().nullable(),
  trainableParameters: z.int().nullable(),
  totalParameters: z.int().nullable(),
  /** Median over the steps after the first ones. */
  stepMilliseconds: z.number().nullable(),
  /** Largest resident set of the run's process. */
  peakMemoryBytes: z.int().nullable(),
  /** Where a plug-in chooses the blocks that learn: share of the blocks' trainable parameters that learn in a step, mean over the steps. */
  learningShare: z.number().optional(),
  /** Where a plug-in chooses the blocks that learn: time before a step, mean over the steps. Not part of `stepMilliseconds`. */
  pluginMilliseconds: z.number().optional(),
  /** How frozen weights were held; absent: in float32. */
  frozen: z.enum(FROZEN_TYPES).optional(),
  /** Losses of the training steps: the means of at most 60 stretches that are equally long. */
  losses: z.array(z.number()).optional(),
  /** Wall time of the run, loading and evaluation included. */
  seconds: z.number(),
  status: z.enum(["ok", "error"]),
  error: z.string().optional(),
});
export type RunResult = z.infer<typeof RunResult>;

/** Everything that determines a run: two equal specs give equal scores. */
export const RunSpec = z.object({
  /** Name of the row in the table: a registered method or a variant of one. */
  method: z.string(),
  /** The registered method of a variant. */
  variantOf: z.string().optional(),
  methodConfig: z.record(z.string(), z.unknown()),
  /** Training plug-ins and their settings. */
  plugins: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  /** How frozen weights are held; absent: in float32. */
  frozen: FrozenSetting.optional(),
  task: z.string(),
  seed: z.int(),
  /** Model folder; null for the embedded one. */
  model: z.string().nullable(),
  engine: z.enum(["onnx", "eager"]),
  threads: z.int().positive().nullable(),
  learningRate: z.number().positive(),
  weightDecay: z.number().min(0),
  warmupFraction: z.number().min(0).max(1),
  batchSize: z.int().positive(),
  maxLength: z.int().positive(),
  /** Rows of the train split that are used, and how often each is seen. */
  trainRows: z.int().positive(),
  epochs: z.int().positive(),
  devRows: z.int().positive(),
  testRows: z.int().positive(),
});
export type RunSpec = z.infer<typeof RunSpec>;

/** `lora__bshift__s0`: names the run's file. */
export function runKey(run: Pick<RunSpec, "method" | "task" | "seed">): string {
  return `${run.method}__${run.task}__s${run.seed}`;
}

/** A finished run on disk: it is taken over only when its spec is the one asked for. */
export const StoredRun = z.object({ spec: RunSpec, result: RunResult });
export type StoredRun = z.infer<typeof StoredRun>;
