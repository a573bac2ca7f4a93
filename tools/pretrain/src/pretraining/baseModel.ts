import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BaseModel } from "@peftjs/core";
import { fromConfig } from "@peftjs/models";
import { ARTIFACTS_FOLDER } from "../folders.ts";

export interface BaseShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly positions: number;
  readonly vocabularySize: number;
  readonly seed: number;
}

/** config.json of the embedded model. Dropout is off while it is pretrained (far less than one pass per parameter) and 0.1 for users. */
export function baseConfig(shape: BaseShape, dropout: number): Record<string, unknown> {
  return {
    model_type: "bert",
    vocab_size: shape.vocabularySize,
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    intermediate_size: 4 * shape.hidden,
    hidden_act: "gelu",
    hidden_dropout_prob: dropout,
    attention_probs_dropout_prob: dropout,
    max_position_embeddings: shape.positions,
    type_vocab_size: 2,
    initializer_range: 0.02,
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
  };
}

/** A model with BERT's pretraining heads at the warm start that the command `warm-start` wrote. */
export function warmBase(shape: BaseShape): BaseModel {
  const model = fromConfig(baseConfig(shape, 0), { head: "preTraining", seed: shape.seed });
  const bytes = readFileSync(join(ARTIFACTS_FOLDER, "warm-start.bin"));
  const index = JSON.parse(readFileSync(join(ARTIFACTS_FOLDER, "warm-start.json"), "utf8")) as Record<
    string,
    { shape: number[]; offset: number }
  >;
  for (const [name, { offset }] of Object.entries(index)) {
    const target = [...model.parameters].find(([key]) => key.endsWith(`.${name}`))?.[1];
    if (target === undefined) throw new Error(`The model has no parameter for the start value "${name}".`);
    (target.data as Float32Array).set(new Float32Array(bytes.buffer, bytes.byteOffset + offset, target.data.length));
  }
  return model;
}
