import { zeros } from "@peftjs/core";
import type { HostTensor, LayerSite, Named, TargetConfig, Wire } from "@peftjs/core";

/**
 * The Python library has no type for methods that train existing parameters only. A rank-1 LoRA whose A and B are zero
 * changes nothing, and a file of that type may carry biases and heads: Python loads it as it is and merges it.
 * This module is that carrier: one layer, the first block's query projection, gets the two zero matrices.
 */
export const identityLoraTarget: TargetConfig = {
  targetModules: null,
  targetRoles: ["query"],
  excludeModules: null,
  layersToTransform: [0],
  layersPattern: null,
  modulesToSave: null,
};

/** Untrained A [1, in] and B [out, 1], both zero. */
export function identityLoraBuffers(site: LayerSite): Named<HostTensor> {
  return { a: zeros([1, site.inFeatures]), b: zeros([site.outFeatures, 1]) };
}

/** The wire description of the carrier. Files of this type are read back as what they say they are: LoRA. */
export function identityLoraWire(
  bias: "none" | "all",
): Pick<Wire<object>, "peftType" | "tensors" | "constants" | "accepts"> {
  return {
    peftType: "LORA",
    tensors: { a: "lora_A.weight", b: "lora_B.weight" },
    constants: {
      r: 1,
      lora_alpha: 1,
      lora_dropout: 0,
      bias,
      fan_in_fan_out: false,
      init_lora_weights: true,
      use_rslora: false,
      use_dora: false,
      rank_pattern: {},
      alpha_pattern: {},
      layers_pattern: null,
      loftq_config: {},
      megatron_config: null,
      megatron_core: "megatron.core",
    },
    accepts: () => false,
  };
}
