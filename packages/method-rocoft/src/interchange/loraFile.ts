import { defineMethod, patternValue, targetFields, targetWire, zeros } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { z } from "zod";
import { unsupported } from "./unsupported.ts";

/** What a file of low-rank factors says; names and meanings are those of the Python library. */
export const LoraFileConfig = z.strictObject({
  ...targetFields,
  rank: z.int().positive(),
  alpha: z.number(),
  useRslora: z.boolean().default(false),
  rankPattern: z.record(z.string(), z.int().positive()).readonly().default({}),
  alphaPattern: z.record(z.string(), z.number()).readonly().default({}),
  fanInFanOut: z.boolean().default(false),
  loraBias: z.boolean().default(false),
});
export type LoraFileConfig = z.infer<typeof LoraFileConfig>;

/** LoRA files (Hu et al. 2021): ΔW = s·B·A with A [r, in], B [out, r] and s = α/r, or α/√r. */
export const loraFile: Method<LoraFileConfig> = defineMethod<LoraFileConfig>({
  name: "lora",
  description: "Low-rank factors of the change of each weight.",
  package: "@peftjs/method-rocoft",
  config: LoraFileConfig,
  wire: {
    peftType: "LORA",
    config: {
      ...targetWire,
      rank: "r",
      alpha: "lora_alpha",
      useRslora: "use_rslora",
      rankPattern: "rank_pattern",
      alphaPattern: "alpha_pattern",
      fanInFanOut: "fan_in_fan_out",
      loraBias: "lora_bias",
    },
    tensors: { a: "lora_A.weight", b: "lora_B.weight", biasB: "lora_B.bias" },
    constants: { bias: "none", lora_dropout: 0, init_lora_weights: true },
    whenSet: ["exclude_modules", "lora_bias"],
    unsupported: [
      ...["layer_replication", "target_parameters", "use_qalora", "alora_invocation_tokens", "arrow_config"],
      ...["use_bdlora", "trainable_token_indices"],
    ],
    accepts: (json) => json["use_dora"] !== true,
  },
  capabilities: { merge: false, multiAdapter: false, identityAtStart: false },
  targets: (config) => config,
  siteConfig: ({ site, config }) => ({
    ...config,
    rank: patternValue(config.rankPattern, site.path) ?? config.rank,
    alpha: patternValue(config.alphaPattern, site.path) ?? config.alpha,
  }),
  init: ({ site, config: { rank, loraBias } }) => {
    if (site.kind !== "linear") {
      throw unsupported(
        `The file adapts "${site.path}", which is of kind ${site.kind}. RoCoFT is about linear layers: read it by a method of type LORA.`,
      );
    }
    const bias = loraBias ? { biasB: zeros([site.outFeatures]) } : {};
    return { params: { a: zeros([rank, site.inFeatures]), b: zeros([site.outFeatures, rank]), ...bias } };
  },
});
