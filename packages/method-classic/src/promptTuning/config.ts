import type { Wire } from "@peftjs/core";
import { z } from "zod";
import { virtualTokenFields, virtualTokenWire } from "../virtualTokens/config.ts";

/** Settings of prompt tuning. Names and defaults are those of the Python library, in camelCase, but for `initTokenIds`. */
export const PromptTuningConfig = z.strictObject({
  ...virtualTokenFields,
  promptTuningInit: z
    .enum(["RANDOM", "TEXT", "SAMPLE_VOCAB"])
    .default("RANDOM")
    .describe(
      "Start of the virtual tokens: normal(0, 1), the embeddings of initTokenIds, or those of tokens drawn from the vocabulary.",
    ),
  initTokenIds: z
    .array(z.int().nonnegative())
    .readonly()
    .nullable()
    .default(null)
    .describe(
      "Token ids of the text to start from, repeated or cut to n of them. Needed by TEXT: the method has no tokenizer. Not in the file.",
    ),
  promptTuningInitText: z
    .string()
    .nullable()
    .default(null)
    .describe("That text, for the file. The Python library asks for it and tokenizerNameOrPath with TEXT."),
  tokenizerNameOrPath: z.string().nullable().default(null).describe("The tokenizer that made the ids, for the file."),
});
export type PromptTuningConfig = z.infer<typeof PromptTuningConfig>;

/** Names in adapter_config.json and the tensor file. */
export const promptTuningWire: Wire<PromptTuningConfig> = {
  peftType: "PROMPT_TUNING",
  config: {
    ...virtualTokenWire.config,
    promptTuningInit: "prompt_tuning_init",
    promptTuningInitText: "prompt_tuning_init_text",
    tokenizerNameOrPath: "tokenizer_name_or_path",
  },
  tensors: virtualTokenWire.tensors,
  constants: { ...virtualTokenWire.constants, tokenizer_kwargs: null },
};
