import * as tf from "@tensorflow/tfjs-core";

const mask = [
  [1, 1, 1, 1, 1, 1],
  [1, 1, 1, 1, 0, 0],
];

const e1 = {
  input_ids: [
    [1, 5, 6, 7, 8, 2],
    [1, 9, 10, 2, 0, 0],
  ],
  attention_mask: mask,
  token_type_ids: [
    [0, 0, 0, 1, 1, 1],
    [0, 0, 1, 1, 0, 0],
  ],
};
const e2 = {
  input_ids: [
    [0, 5, 6, 7, 8, 2],
    [0, 9, 10, 2, 1, 1],
  ],
  attention_mask: mask,
};

const int = (values: number[][]): tf.Tensor2D => tf.tensor2d(values, undefined, "int32");

/** Input E1 (BERT: padding 0, two types) as tensors. */
export const inputE1 = () => ({
  input_ids: int(e1.input_ids),
  attention_mask: int(e1.attention_mask),
  token_type_ids: int(e1.token_type_ids),
});

/** Input E2 (RoBERTa: padding 1) as tensors. */
export const inputE2 = () => ({ input_ids: int(e2.input_ids), attention_mask: int(e2.attention_mask) });

/** vocab 20, H 8, L 2, h 2, F 16, P 12, class defaults otherwise. */
export const encSizes = {
  vocab_size: 20,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 16,
  max_position_embeddings: 12,
};

export const bertEnc = { model_type: "bert", ...encSizes };
export const robertaEnc = { model_type: "roberta", ...encSizes, type_vocab_size: 1, layer_norm_eps: 1e-5 };
export const preNormEnc = { ...robertaEnc, model_type: "roberta-prelayernorm" };
