import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { loraWireWhere } from "../lora/config.ts";
import { lora } from "../lora/method.ts";
import { EvaConfig } from "./config.ts";

/**
 * EVA (Paischer et al. 2024): LoRA whose A [r, in] starts as the first right singular vectors of its layer's centred inputs, with the ranks
 * given to the layers where they explain most of the variance; B = 0. It needs batches: `apply({ batches, runner: engine })`.
 */
export const eva: Method<EvaConfig> = defineMethod<EvaConfig>({
  ...(lora as unknown as Method<EvaConfig>),
  name: "eva",
  description:
    "LoRA that starts from the principal components of its layers' inputs, with ranks by explained variance.",
  config: EvaConfig,
  capabilities: { ...lora.capabilities, needsData: true },
  wire: loraWireWhere((json) => json["init_lora_weights"] === "eva"),
});
