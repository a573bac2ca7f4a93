import { PeftError } from "@peftjs/core";
import type { InitContext, InitResult } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";

export function initOlora({ site }: InitContext<LoraConfig>): InitResult {
  throw new PeftError("CONFIG_INVALID", site.path);
}
