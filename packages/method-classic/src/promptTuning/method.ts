import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import { embeddingSizes, promptTarget, withSizes } from "../virtualTokens/config.ts";
import { tableFile } from "../virtualTokens/file.ts";
import { PromptTuningConfig, promptTuningWire } from "./config.ts";
import { startTable } from "./start.ts";

/**
 * Prompt tuning (Lester et al. 2021, section 2): the model reads [P; X] where it read the word embeddings X [T, H] of a text, and
 * P [n, H] is all that learns. RoBERTa-base with n = 20: 15,360 parameters and the head.
 */
export const promptTuning: Method<PromptTuningConfig> = defineMethod<PromptTuningConfig>({
  name: "prompt-tuning",
  description: "Prompt tuning: trained word embeddings stand in front of every input.",
  package: "@peftjs/method-classic",
  config: PromptTuningConfig,
  wire: promptTuningWire,
  // Other starts are rows of the table.
  capabilities: {
    ...{ merge: false, multiAdapter: true, identityAtStart: false },
    quantizedBase: ({ promptTuningInit }: PromptTuningConfig) => (promptTuningInit === "RANDOM" ? "output" : "values"),
  },
  targets: promptTarget,
  siteConfig: ({ site, config }) => withSizes(config, embeddingSizes(site)),
  init: (context) => ({ params: { table: startTable(context) } }),
  virtualTokens: ({ params }) => ({ embeddings: params["table"] as tf.Tensor2D }),
  file: (context) => {
    const form = tableFile(context, ({ table }) => table as tf.Tensor2D);
    const { promptTuningInit, promptTuningInitText, tokenizerNameOrPath } = form.config;
    const said = promptTuningInitText !== null && tokenizerNameOrPath !== null;
    // The Python library refuses TEXT in a file that does not say which text and which tokenizer.
    return promptTuningInit !== "TEXT" || said
      ? form
      : { ...form, config: { ...form.config, promptTuningInit: "RANDOM" } };
  },
  refit: ({ params }) => params ?? {},
});
