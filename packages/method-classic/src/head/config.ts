import { targetFields } from "@peftjs/core";
import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { identityLoraWire } from "../interchange/identityLora.ts";

/** Settings of head-only training. */
export const HeadConfig = z.strictObject({ modulesToSave: targetFields.modulesToSave });
export type HeadConfig = z.infer<typeof HeadConfig>;

/** Written as a LoRA of rank 1 that changes nothing, with the head: the Python library loads and merges it. */
export const headWire: Wire<HeadConfig> = { ...identityLoraWire("none"), config: { modulesToSave: "modules_to_save" } };
