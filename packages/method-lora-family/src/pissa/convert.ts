import type { FileContext, FileForm } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";

/** The adapter as it is, or the plain LoRA that it comes to on the original base weights. */
export function residualToLora({ config, sites }: FileContext<LoraConfig>): FileForm<LoraConfig> {
  return { config, params: new Map(sites.map(({ site, params }) => [site.path, params])) };
}
