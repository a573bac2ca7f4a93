import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { encoderFields, virtualTokenFields, virtualTokenWire } from "../virtualTokens/config.ts";

/** Settings of prefix tuning. Names and defaults are those of the Python library, in camelCase. */
export const PrefixTuningConfig = z.strictObject({
  ...virtualTokenFields,
  prefixProjection: z
    .boolean()
    .default(false)
    .describe("Whether a two-layer encoder makes the keys and values from a smaller table while it is trained."),
  ...encoderFields,
  initWeights: z
    .enum(["random", "zero"])
    .default("random")
    .describe(
      'Start of the keys and values. "random": normal(0, 1), or through a random encoder. "zero": all zero, which still takes its share of the attention.',
    ),
});
export type PrefixTuningConfig = z.infer<typeof PrefixTuningConfig>;

/** Names in adapter_config.json and the tensor file. */
export const prefixTuningWire: Wire<PrefixTuningConfig> = {
  peftType: "PREFIX_TUNING",
  config: {
    ...virtualTokenWire.config,
    prefixProjection: "prefix_projection",
    encoderHiddenSize: "encoder_hidden_size",
    initWeights: {
      key: "init_weights",
      write: (value) => (value === "random" ? null : value),
      read: (json) => json,
    },
  },
  tensors: virtualTokenWire.tensors,
  constants: virtualTokenWire.constants,
  whenSet: ["init_weights"],
};
