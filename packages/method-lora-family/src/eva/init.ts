import type { HostTensor, InitContext, InitResult, Named } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";

/** A from the calibration, B zero. A layer that was not calibrated keeps the plain start. */
export function initEva(_context: InitContext<LoraConfig>, plain: Named<HostTensor>): InitResult {
  return { params: plain };
}
