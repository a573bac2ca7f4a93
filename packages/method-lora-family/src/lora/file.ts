import type { FileContext, FileForm } from "@peftjs/core";
import { residualToLora } from "../pissa/convert.ts";
import type { LoraConfig } from "./config.ts";

/** Plain LoRA, with `fanInFanOut` as the Python library corrects it: true where the layers store their weights [in, out]. */
export function loraFile(context: FileContext<LoraConfig>): FileForm<LoraConfig> {
  const { config, params } = residualToLora(context);
  const linear = context.sites.filter(({ site }) => site.kind === "linear");
  return { config: { ...config, fanInFanOut: linear.some(({ site }) => site.layout === "in_out") }, params };
}
