import { defineMethod } from "@peftjs/core";
import type { Method, ParameterContext, ParameterGroup } from "@peftjs/core";
import { lora } from "../lora/method.ts";
import { LoraPlusConfig } from "./config.ts";
import { loraPlus } from "./groups.ts";

/**
 * LoRA+ (Hayou et al. 2024): LoRA whose B learns λ = `ratio` times as fast as A (η_B = λ·η_A). With one rate for both, A and B cannot
 * both move as they should in wide models. The layer and the file are LoRA's; a lower rate than LoRA's (about half) suits it.
 */
export const loraplus: Method<LoraPlusConfig> = defineMethod<LoraPlusConfig>({
  ...(lora as unknown as Method<LoraPlusConfig>),
  name: "loraplus",
  description: "LoRA+: LoRA whose B learns faster than its A.",
  config: LoraPlusConfig,
  parameterGroup,
});

function parameterGroup({ config, name, shape }: ParameterContext<LoraPlusConfig>): ParameterGroup {
  const { ratio, embeddingLearningRate } = config;
  return loraPlus({ ratio, embeddingLearningRate })({ name, shape });
}
