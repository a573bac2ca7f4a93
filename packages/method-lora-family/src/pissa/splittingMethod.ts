import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";
import { lora } from "../lora/method.ts";

/**
 * LoRA as a method that splits weights. Two such adapters would replace the same base weights, so one alone is active. What LoRA's
 * functions make of several adapters goes with the whole base weight and is plain LoRA: they are left out.
 */
export function splittingMethod<Config extends LoraConfig>(
  own: Pick<Method<Config>, "name" | "description" | "config" | "wire">,
): Method<Config> {
  const { calibrate, combine, refit, ...shared } = lora as unknown as Method<Config>;
  return defineMethod<Config>({
    ...shared,
    ...own,
    capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  });
}
