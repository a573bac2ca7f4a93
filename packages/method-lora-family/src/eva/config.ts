import { z } from "zod";
import { LoraConfig } from "../lora/config.ts";
import { EvaOptions } from "./options.ts";

/** Settings of EVA: those of LoRA, with the start that EVA gives. */
export const EvaConfig = z.strictObject({
  ...LoraConfig.shape,
  initLoraWeights: z.literal("eva").default("eva").describe("Start values: those of this method."),
  eva: EvaOptions.prefault({}).describe("How data is looked at, and how ranks are given to layers."),
});
export type EvaConfig = z.infer<typeof EvaConfig>;
