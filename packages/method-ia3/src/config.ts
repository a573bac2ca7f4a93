import { targetFields } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";

const { targetModules, targetRoles, excludeModules, modulesToSave } = targetFields;

/** Settings of (IA)³. Names and defaults are those of the Python library, in camelCase. */
export const Ia3Config = z
  .strictObject({
    targetModules,
    targetRoles,
    excludeModules,
    feedforwardModules: z
      .union([z.array(z.string()).readonly(), z.string()])
      .nullable()
      .default(null)
      .describe(
        "Those of the targets whose input is scaled instead of their output: ends of paths, or a regular expression. Default: by architecture.",
      ),
    placement: z
      .enum(["library", "paper"])
      .default("library")
      .describe(
        'Layers when no target is named. "paper": keys, values and the activation between the feed-forward layers. "library": as the Python library places them, which on BERT and RoBERTa scales the input of the attention\'s output layer as well.',
      ),
    modulesToSave,
    initIa3Weights: z
      .boolean()
      .default(true)
      .describe("true: l starts at one. false: normal(0, 1), to try things out."),
    fanInFanOut: z
      .boolean()
      .default(false)
      .describe("Written for the Python library. The layout itself is read off the layer."),
  })
  .refine(
    ({ targetModules: targets, feedforwardModules: inner }) =>
      !Array.isArray(targets) || !Array.isArray(inner) || inner.every((name) => targets.includes(name)),
    { path: ["feedforwardModules"], error: "Expected entries of targetModules." },
  );
export type Ia3Config = z.infer<typeof Ia3Config>;

/** Names in adapter_config.json and the tensor file. */
export const ia3Wire: Wire<Ia3Config> = {
  peftType: "IA3",
  config: {
    targetModules: "target_modules",
    excludeModules: "exclude_modules",
    feedforwardModules: "feedforward_modules",
    modulesToSave: "modules_to_save",
    initIa3Weights: "init_ia3_weights",
    fanInFanOut: "fan_in_fan_out",
  },
  tensors: { l: "ia3_l" },
};
