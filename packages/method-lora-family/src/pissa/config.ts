import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { LoraConfig, loraWireWhere } from "../lora/config.ts";

/** Settings of PiSSA: those of LoRA, with a start taken from the weight. */
export const PissaConfig = z.strictObject({
  ...LoraConfig.shape,
  alpha: LoraConfig.shape.alpha.describe("Scale α: the update is multiplied by α/r. The paper sets α = r."),
  initLoraWeights: z
    .union([z.literal("pissa"), z.templateLiteral(["pissa_niter_", z.int().nonnegative()])])
    .default("pissa_niter_4")
    .describe(
      '"pissa": exact singular vectors. "pissa_niter_N": N randomised iterations, much faster; 16 are nearly exact.',
    ),
});
export type PissaConfig = z.infer<typeof PissaConfig>;

/** A file of LoRA whose start is PiSSA's. */
export const pissaWire: Wire<PissaConfig> = loraWireWhere((json) =>
  String(json["init_lora_weights"]).startsWith("pissa"),
);
