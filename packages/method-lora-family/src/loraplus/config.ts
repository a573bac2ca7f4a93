import { z } from "zod";
import { LoraConfig } from "../lora/config.ts";

/** How the factors of LoRA learn at rates of their own. */
export const loraPlusFields = {
  ratio: z
    .number()
    .positive()
    .default(16)
    .describe("Learning rate of B and of vectors as a multiple of the run's. 1: plain LoRA."),
  embeddingLearningRate: z
    .number()
    .positive()
    .default(1e-6)
    .describe("Peak learning rate of the factors of embeddings, whatever the run's."),
} as const;

/** Settings of LoRA+: those of LoRA, and the rates. */
export const LoraPlusConfig = z.strictObject({ ...LoraConfig.shape, ...loraPlusFields });
export type LoraPlusConfig = z.infer<typeof LoraPlusConfig>;
