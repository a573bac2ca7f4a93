import type { Adapter } from "../adapter/adapter.ts";
import type { BaseModel } from "../model/model.ts";

/** README.md of an adapter folder: the front matter that the Hub reads, and what the adapter is. */
export function modelCard(base: BaseModel, adapter: Adapter): string {
  const name = String(adapter.configJson["base_model_name_or_path"] ?? base.name);
  const classifies = base.head.kind === "sequenceClassification" || base.head.kind === "regression";
  const lines = [
    "---",
    `base_model: ${JSON.stringify(name)}`,
    "library_name: peft",
    ...(classifies ? ["pipeline_tag: text-classification"] : []),
    "tags:",
    `- ${JSON.stringify(`base_model:adapter:${name}`)}`,
    `- ${adapter.method.name}`,
    "- transformers",
    "---",
    "",
    `# Adapter for ${name}`,
    "",
    adapter.method.description,
    "",
    "Written by PEFT.js. It loads with `loadAdapter` of `@peftjs/core` and, where the Python library knows the method, with `PeftModel.from_pretrained`.",
    "",
  ];
  return lines.join("\n");
}
