import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromConfig, savePretrained } from "@peftjs/models";

const letters = [..."abcdefghijklmnopqrstuvwxyz"];
const vocabulary = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "[MASK]",
  ...letters,
  ...letters.map((letter) => `##${letter}`),
  "good",
  "bad",
  "film",
  ".",
  ",",
];

/** Writes a masked-language model with random weights that spells its words: a model folder in a tenth of a second. */
export async function writeTinyModel(folder: string): Promise<void> {
  const config = {
    model_type: "bert",
    architectures: ["BertForMaskedLM"],
    vocab_size: vocabulary.length,
    hidden_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 32,
    max_position_embeddings: 96,
    type_vocab_size: 2,
    hidden_act: "gelu",
    layer_norm_eps: 1e-12,
    initializer_range: 0.1,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    pad_token_id: 0,
  };
  await savePretrained(fromConfig(config, { head: "maskedLM", seed: 1 }), folder);
  writeFileSync(join(folder, "vocab.txt"), `${vocabulary.join("\n")}\n`);
}
