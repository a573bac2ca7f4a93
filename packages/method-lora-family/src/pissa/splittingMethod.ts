import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";
import { lora } from "../lora/method.ts";

/**
 * LoRA as a method that splits weights. Two such adapters would replace the same base weights, so one alone is active, and values of
 * a plain adapter do not fit the reduced weight.
 */
export function splittingMethod<Config extends LoraConfig>(
  own: Pick<Method<Config>, "name" | "description" | "config" | "wire">,
): Method<Config> {
  const { calibrate, refit, ...shared } = lora as unknown as Method<Config>;
  return defineMethod<Config>({
    ...shared,
    ...own,
    capabilities: { ...shared.capabilities, multiAdapter: false },
  });
}
