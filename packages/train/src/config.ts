import { PeftError } from "@peftjs/core";
import { z } from "zod";

const every = z.union([z.enum(["epoch", "never"]), z.int().positive()]);

/** Options of a training run. Every default is here. */
export const TrainingConfig = z.strictObject({
  epochs: z.number().positive().default(3).describe("Passes over the data; a fraction stops within one."),
  maxSteps: z.int().positive().nullable().default(null).describe("Optimizer steps; takes precedence over epochs."),
  optimizer: z.enum(["adamw", "sgd"]).default("adamw").describe("Update rule."),
  learningRate: z.number().nonnegative().default(5e-4).describe("Peak learning rate."),
  schedule: z
    .enum(["constant", "linear", "cosine"])
    .default("linear")
    .describe("Shape of the learning rate after warm-up."),
  warmupSteps: z
    .int()
    .nonnegative()
    .nullable()
    .default(null)
    .describe("Steps of linear warm-up; takes precedence over warmupRatio."),
  warmupRatio: z.number().min(0).max(1).default(0.06).describe("Share of all steps spent in warm-up."),
  weightDecay: z.number().nonnegative().default(0.01).describe("Decay of weights that are neither bias nor norm."),
  beta1: z.number().min(0).lt(1).default(0.9).describe("AdamW: memory of the gradient's mean."),
  beta2: z.number().min(0).lt(1).default(0.999).describe("AdamW: memory of the squared gradient's mean."),
  epsilon: z.number().positive().default(1e-8).describe("AdamW: added to the denominator."),
  momentum: z.number().min(0).lt(1).default(0).describe("SGD: momentum."),
  maxGradNorm: z
    .number()
    .positive()
    .nullable()
    .default(1)
    .describe("Bound on the global gradient norm; null does not clip."),
  recompute: z
    .enum(["none", "blocks"])
    .default("none")
    .describe("What runs again in the backward pass instead of being kept: blocks take less memory and more time."),
  accumulationSteps: z.int().positive().default(1).describe("Batches whose gradients make one optimizer step."),
  evalEvery: every
    .default("epoch")
    .describe('When to evaluate: "epoch", "never", or a number of steps. The end is always evaluated, unless "never".'),
  saveEvery: every
    .default("epoch")
    .describe('When to save a checkpoint: "epoch", "never", or a number of steps. Needs outputDir.'),
  keepCheckpoints: z.int().positive().default(2).describe("Latest checkpoints kept, besides the best one."),
  metricForBest: z
    .string()
    .default("loss")
    .describe("Metric that decides which evaluation is best; lower is better for loss, higher for others."),
  loadBest: z.boolean().default(true).describe("Leave the model with the best evaluation's parameters at the end."),
  earlyStopPatience: z
    .int()
    .positive()
    .nullable()
    .default(null)
    .describe("Stop after this many evaluations without improvement."),
  seed: z
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1)
    .default(42)
    .describe("Seed of dropout."),
  outputDir: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe("Folder for checkpoints and log.jsonl; null keeps everything in memory."),
  resume: z.boolean().default(false).describe("Go on from the newest checkpoint in outputDir, if there is one."),
});

export type TrainingConfig = z.infer<typeof TrainingConfig>;
/** What a user may leave out is optional here. */
export type TrainingConfigInput = z.input<typeof TrainingConfig>;

/** Fills in defaults. Throws `CONFIG_INVALID` naming every wrong field. */
export function parseTrainingConfig(input: TrainingConfigInput): TrainingConfig {
  const parsed = TrainingConfig.safeParse(input);
  if (!parsed.success) {
    throw new PeftError(
      "CONFIG_INVALID",
      `The training options are wrong:\n${z.prettifyError(parsed.error)}\nSee TrainingConfig for names and ranges.`,
    );
  }
  const config = parsed.data;
  if (config.resume && config.outputDir === null) {
    throw new PeftError(
      "CONFIG_INVALID",
      "resume: true needs the folder of the run to go on with, got outputDir: null. Set outputDir.",
    );
  }
  return config;
}
