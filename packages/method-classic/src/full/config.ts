import { targetFields } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";

/** Settings of full fine-tuning. */
export const FullConfig = z.strictObject({ modulesToSave: targetFields.modulesToSave });
export type FullConfig = z.infer<typeof FullConfig>;

/** A type of our own: the Python library reads the merged model folder instead. */
export const fullWire: Wire<FullConfig> = {
  peftType: "FULL",
  config: { modulesToSave: "modules_to_save" },
  tensors: {},
};
