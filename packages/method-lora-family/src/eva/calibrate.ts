import type { CalibrateContext, Calibration } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";

export async function calibrateEva(_context: CalibrateContext<LoraConfig>): Promise<Calibration<LoraConfig>> {
  return {};
}
