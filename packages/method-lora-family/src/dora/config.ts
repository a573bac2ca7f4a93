import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { LoraConfig, loraWire } from "../lora/config.ts";

/** Settings of DoRA: those of LoRA, without the bias of B. */
export const DoraConfig = z.strictObject({
  ...LoraConfig.shape,
  loraBias: z
    .literal(false, { error: "DoRA has no bias of B: it scales x·(W + s·B·A)ᵀ alone. Leave loraBias out." })
    .default(false)
    .describe("Not with DoRA."),
  detachNorm: z
    .boolean()
    .default(true)
    .describe("The gradient takes the norm of W + s·B·A as constant. false: it does not. Not written to the file."),
});
export type DoraConfig = z.infer<typeof DoraConfig>;

/** A LoRA file with `use_dora` and one vector more per layer. */
export const doraWire: Wire<DoraConfig> = {
  ...loraWire,
  tensors: { ...loraWire.tensors, magnitude: "lora_magnitude_vector" },
  constants: { ...loraWire.constants, use_dora: true },
  accepts: (json) => json["use_dora"] === true,
};
