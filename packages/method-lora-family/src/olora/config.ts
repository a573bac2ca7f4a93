import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { LoraConfig, loraWireWhere } from "../lora/config.ts";

/** Settings of OLoRA: those of LoRA, with a start taken from the weight. */
export const OloraConfig = z.strictObject({
  ...LoraConfig.shape,
  initLoraWeights: z.literal("olora").default("olora").describe("Always the leading part of the QR factorisation."),
});
export type OloraConfig = z.infer<typeof OloraConfig>;

/** A file of LoRA whose start is OLoRA's. */
export const oloraWire: Wire<OloraConfig> = loraWireWhere((json) => json["init_lora_weights"] === "olora");
