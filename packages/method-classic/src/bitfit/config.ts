import { targetFields } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { identityLoraWire } from "../interchange/identityLora.ts";

/** Settings of BitFit. */
export const BitFitConfig = z.strictObject({ modulesToSave: targetFields.modulesToSave });
export type BitFitConfig = z.infer<typeof BitFitConfig>;

/** Written as a LoRA of rank 1 that changes nothing, with `bias: "all"`: the Python library loads and merges it. */
export const bitfitWire: Wire<BitFitConfig> = {
  ...identityLoraWire("all"),
  config: { modulesToSave: "modules_to_save" },
};
