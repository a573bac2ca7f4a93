import { targetFields, targetWire } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { LoraConfig, loraWire } from "../lora/config.ts";
import { wholeSteps } from "./budget.ts";

const { alpha, dropout, bias, fanInFanOut } = LoraConfig.shape;

const stepsOrShare = z
  .number()
  .nonnegative()
  .refine((value) => value < 1 || Number.isInteger(value), "Expected whole steps, or a share of all steps below 1.");

const decay = z.number().gt(0).lt(1).default(0.85);

/** Settings of AdaLoRA. Names and defaults are those of the Python library, in camelCase. */
export const AdaloraConfig = z
  .strictObject({
    ...targetFields,
    initRank: z.int().positive().default(12).describe("Rank of every layer at the start."),
    targetRank: z.int().positive().default(8).describe("Mean rank of the layers at the end."),
    tinit: stepsOrShare
      .default(0)
      .describe("Steps before pruning starts. Below 1: a share of all steps, so that one setting serves every run."),
    tfinal: stepsOrShare
      .default(0)
      .describe("Steps at the end during which ranks stay. Below 1: a share of all steps."),
    deltaT: z.int().positive().default(1).describe("Steps from one pruning to the next."),
    beta1: decay.describe("Decay of the averaged sensitivity."),
    beta2: decay.describe("Decay of the averaged uncertainty."),
    orthRegWeight: z
      .number()
      .nonnegative()
      .default(0.5)
      .describe("Weight of the penalty that keeps the rows of A and the columns of B orthonormal."),
    squaredPenalty: z
      .boolean()
      .default(false)
      .describe("The penalty as the paper prints it: the sum of squared norms. Default: the mean of the norms."),
    alpha: alpha.describe("Scale α: the update is multiplied by α/initRank. Not positive: by 1."),
    dropout,
    bias,
    totalSteps: z
      .int()
      .positive()
      .nullable()
      .default(null)
      .describe("Optimizer steps that the schedule is laid out for. Default: those of the run."),
    rankPattern: z
      .record(z.string(), z.array(z.boolean()).readonly())
      .nullable()
      .default(null)
      .describe("Of the initRank components of each layer, by path, those that are kept. Written when pruned."),
    fanInFanOut,
  })
  .refine(({ initRank, targetRank }) => targetRank <= initRank, {
    path: ["targetRank"],
    error: "Expected targetRank to be at most initRank: ranks only shrink.",
  })
  .refine(({ rankPattern, initRank }) => Object.values(rankPattern ?? {}).every(({ length }) => length === initRank), {
    path: ["rankPattern"],
    error: "Expected initRank booleans for every layer.",
  })
  .refine(
    ({ tinit, tfinal, totalSteps: total }) =>
      total === null || wholeSteps(tinit, total) < total - wholeSteps(tfinal, total),
    { path: ["totalSteps"], error: "Expected more than tinit + tfinal: there is no step left to prune in." },
  );
export type AdaloraConfig = z.infer<typeof AdaloraConfig>;

const PATTERN_SUFFIX = ".lora_E";

/** Names in adapter_config.json and the tensor file. */
export const adaloraWire: Wire<AdaloraConfig> = {
  peftType: "ADALORA",
  config: {
    ...targetWire,
    initRank: "init_r",
    targetRank: "target_r",
    tinit: "tinit",
    tfinal: "tfinal",
    deltaT: "deltaT",
    beta1: "beta1",
    beta2: "beta2",
    orthRegWeight: "orth_reg_weight",
    alpha: "lora_alpha",
    dropout: "lora_dropout",
    bias: "bias",
    totalSteps: "total_step",
    rankPattern: { key: "rank_pattern", write: writePattern, read: readPattern },
    fanInFanOut: "fan_in_fan_out",
  },
  tensors: { a: "lora_A", b: "lora_B", e: "lora_E", ranknum: null },
  constants: {
    ...loraWire.constants,
    r: 8,
    alpha_pattern: {},
    use_rslora: false,
    init_lora_weights: true,
  },
  whenSet: ["exclude_modules"],
  unsupported: [...(loraWire.unsupported ?? []), "use_dora", "trainable_token_indices"],
};

/** Python names the parameter whose entries are kept, not the layer. */
function writePattern(value: unknown): unknown {
  const pattern = value as AdaloraConfig["rankPattern"];
  if (pattern === null) return null;
  return Object.fromEntries(Object.entries(pattern).map(([path, kept]) => [path + PATTERN_SUFFIX, kept]));
}

/** In older files the adapter's name follows the parameter's. */
function readPattern(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  return Object.fromEntries(
    Object.entries(json).map(([name, kept]: [string, unknown]) => [name.replace(/\.lora_E(\.[^.]+)?$/u, ""), kept]),
  );
}
