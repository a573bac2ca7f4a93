import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { LoraConfig, loraWireWhere } from "../lora/config.ts";

/** Settings of rsLoRA: those of LoRA with the scale α/√r. */
export const RsLoraConfig = z.strictObject({
  ...LoraConfig.shape,
  useRslora: LoraConfig.shape.useRslora
    .removeDefault()
    .default(true)
    .describe("Rank-stabilised scale α/√r (Kalajdzievski 2023). false: LoRA's α/r."),
});
export type RsLoraConfig = z.infer<typeof RsLoraConfig>;

/** A file of LoRA with `use_rslora`. */
export const rsLoraWire: Wire<RsLoraConfig> = loraWireWhere((json) => json["use_rslora"] === true);
