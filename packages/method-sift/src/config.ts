import { targetFields, targetWire } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";

/** The share of the RoBERTa-large runs of Song et al. 2024. */
const DEFAULT_RATE = 0.008;

/** Settings of SIFT. */
export const SiftConfig = z
  .strictObject({
    ...targetFields,
    rate: z
      .number()
      .positive()
      .max(1)
      .nullable()
      .default(null)
      .describe(
        "Part of the entries of every tensor that is trained: ⌊rate·n⌋ + 1 of n. Default: 0.008, unless loraRank is set.",
      ),
    loraRank: z
      .int()
      .positive()
      .nullable()
      .default(null)
      .describe(
        "Instead of rate: as many entries of a weight as LoRA of this rank has parameters, r·(in + out), and no biases.",
      ),
    scope: z
      .enum(["tensor", "global"])
      .default("tensor")
      .describe(
        'Where the entries compete. "tensor": within each tensor, which gets its share. "global": over all targeted tensors together, for the sum of their shares.',
      ),
    selection: z
      .enum(["gradient", "magnitude", "random"])
      .default("gradient")
      .describe(
        'Which entries: those with the largest gradient at the start (needs labelled batches), the largest in size, or any. "gradient" is the method; the others are for comparison.',
      ),
    selectionBatches: z.int().positive().default(1).describe("Batches whose gradients choose the entries."),
    selectionReduce: z
      .enum(["abs-of-sum", "sum-of-abs"])
      .default("abs-of-sum")
      .describe("How the gradients of several batches become one score: |Σg| or Σ|g|."),
    includeBias: z.boolean().default(true).describe("Entries of the layers' biases are trained too, by the same rate."),
    weightDecayMode: z
      .enum(["none", "delta", "weight"])
      .default("none")
      .describe(
        '"none": the increments do not decay. "delta": they do, towards the pre-trained weight. "weight": the trained entries themselves decay, as in AdamW of the whole weight.',
      ),
    entries: z
      .record(z.string(), z.tuple([z.int().nonnegative(), z.int().nonnegative()]).readonly())
      .readonly()
      .nullable()
      .default(null)
      .describe(
        'Written by scope "global", not set by hand: how many entries of its weight and its bias a layer got, by its path. None of a layer that is not named.',
      ),
  })
  .refine(({ scope, entries }) => scope === "global" || entries === null, {
    path: ["entries"],
    error: 'Expected no entries unless scope is "global": they are what that chose. Set rate or loraRank.',
  })
  .refine(({ rate, loraRank }) => rate === null || loraRank === null, {
    path: ["loraRank"],
    error: "Expected rate or loraRank, not both.",
  })
  // The file says what the default was.
  .overwrite((config) => (config.loraRank === null ? { ...config, rate: config.rate ?? DEFAULT_RATE } : config));
export type SiftConfig = z.infer<typeof SiftConfig>;

/** Names in adapter_config.json and the tensor file. */
export const siftWire: Wire<SiftConfig> = {
  peftType: "SIFT",
  config: {
    ...targetWire,
    rate: "rate",
    loraRank: "lora_rank",
    scope: "scope",
    selection: "selection",
    selectionBatches: "selection_batches",
    selectionReduce: "selection_reduce",
    includeBias: "include_bias",
    weightDecayMode: "weight_decay_mode",
    entries: "entries",
  },
  tensors: {
    values: "sift_values",
    indices: "sift_indices",
    biasValues: "bias_values",
    biasIndices: "bias_indices",
    origin: null,
  },
};
