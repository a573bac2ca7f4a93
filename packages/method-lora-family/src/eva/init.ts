import type { HostTensor, InitContext, InitResult, Named } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";
import type { EvaStart } from "./calibrate.ts";

/** A from the calibration, B zero. A layer that was not calibrated keeps the plain start, which has a zero B as well. */
export function initEva({ site, calibration }: InitContext<LoraConfig>, plain: Named<HostTensor>): InitResult {
  const a = (calibration as EvaStart | undefined)?.get(site.path);
  return { params: a === undefined ? plain : { ...plain, a } };
}
