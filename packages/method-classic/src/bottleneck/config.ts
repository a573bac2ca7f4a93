import { targetFields } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { nonLinearities } from "./activations.ts";

const bottleneckFields = {
  ...targetFields,
  bottleneckSize: z.int().positive().default(256).describe("Size r of the bottleneck."),
  nonLinearity: z.enum(nonLinearities).default("tanh").describe("Function between the two matrices."),
  adapterDropout: z.number().min(0).lt(1).default(0).describe("Dropout on the adapter's input; never on the layer's."),
  scaling: z
    .union([z.number(), z.literal("learned")])
    .default(1)
    .describe('Factor c of the adapter\'s output. "learned": one number per layer that learns, from 1.'),
  bottleneckBias: z
    .boolean()
    .default(false)
    .describe(
      "Adds a bias to both matrices, from zero (Houlsby et al. 2019). LLM-Adapters has none and would not read it.",
    ),
  initWeights: z
    .enum(["mam_adapter", "bert"])
    .default("mam_adapter")
    .describe(
      'Start values. "mam_adapter": D uniform, U zero, so that the model starts unchanged. "bert": both normal(0, 0.02²), so that it does not.',
    ),
  bias: z
    .enum(["none", "all", "adapter_only"])
    .default("none")
    .describe('Biases trained as well: "none", "all" of the model, or those of the adapted layers ("adapter_only").'),
};

/** Settings that series and parallel adapters share. Names and defaults are those of LLM-Adapters, in camelCase, but for `initWeights`. */
export const ParallelConfig = z.strictObject(bottleneckFields);
export type ParallelConfig = z.infer<typeof ParallelConfig>;

/** Settings of series adapters. */
export const SeriesConfig = z.strictObject({
  ...bottleneckFields,
  useAdapterp: z
    .boolean()
    .default(false)
    .describe(
      "Layers when no target is named. false: all of the feed-forward block (AdapterH). true: its last layer alone (AdapterP).",
    ),
  placement: z
    .record(z.string(), z.enum(["before", "after"]))
    .readonly()
    .default({})
    .describe(
      'On which side of a layer its adapter sits: path suffix or regular expression → "before" or "after". ' +
        "Default: before the first layers of the feed-forward block, after all others.",
    ),
});
export type SeriesConfig = z.infer<typeof SeriesConfig>;

/** What the methods' functions look at. */
export type BottleneckConfig = ParallelConfig | SeriesConfig;

const wireFields: Wire<ParallelConfig>["config"] = {
  targetModules: "target_modules",
  modulesToSave: "modules_to_save",
  bottleneckSize: "bottleneck_size",
  nonLinearity: "non_linearity",
  adapterDropout: "adapter_dropout",
  scaling: "scaling",
  initWeights: "init_weights",
  bias: "bias",
  bottleneckBias: "bottleneck_bias",
};

const tensors = {
  down: "adapter_down.weight",
  up: "adapter_up.weight",
  scale: "adapter_scaling",
  downBias: "adapter_down.bias",
  upBias: "adapter_up.bias",
};

const isParallel = (json: Readonly<Record<string, unknown>>): boolean => json["use_parallel_adapter"] === true;

/** Names in the files of LLM-Adapters, which both methods share. */
export const parallelWire: Wire<ParallelConfig> = {
  peftType: "BOTTLENECK",
  config: wireFields,
  tensors,
  constants: { use_parallel_adapter: true, use_adapterp: false },
  whenSet: ["bottleneck_bias"],
  accepts: isParallel,
};

export const seriesWire: Wire<SeriesConfig> = {
  peftType: "BOTTLENECK",
  config: { ...wireFields, useAdapterp: "use_adapterp", placement: "placement" },
  tensors,
  constants: { use_parallel_adapter: false },
  whenSet: ["bottleneck_bias", "placement"],
  accepts: (json) => !isParallel(json),
};
