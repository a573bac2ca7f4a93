import type { Wire } from "@peftjs/core";
import { z } from "zod";

/** Settings of full fine-tuning: none. */
export const FullConfig = z.strictObject({
  modulesToSave: z
    .array(z.string())
    .max(0)
    .readonly()
    .default([])
    .describe("Always empty: every module is trained, the head with the rest."),
});
export type FullConfig = z.infer<typeof FullConfig>;

/** A type of our own: the Python library reads the merged model folder instead. */
export const fullWire: Wire<FullConfig> = { peftType: "FULL", config: {}, tensors: {} };
