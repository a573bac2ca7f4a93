import type { Named, PromptShape } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { encode } from "../virtualTokens/encoder.ts";

/**
 * The table of prefixes P [n, 2·L·d_kv]: as it is, or MLP(E) = W₂·tanh(W₁·e + b₁) + b₂ for every row e of E [n, d] (Li & Liang 2021,
 * section 4.3), W₁ [h, d], W₂ [2·L·d_kv, h].
 */
export function prefixTable(params: Named<tf.Tensor>): tf.Tensor2D {
  return encode(params, (x) => tf.tanh(x));
}

/**
 * Keys and values of every block from the table, whose row is (K₁, V₁, …, K_L, V_L) of one virtual token.
 * P [n, 2·L·d_kv] → [L, 2, n, d_kv]. Block l computes softmax(Q·[K_l; K]ᵀ/√d)·[V_l; V] (eq. 3).
 */
export function prefixKeysValues(table: tf.Tensor2D, { blocks, keyValueFeatures }: PromptShape): tf.Tensor4D {
  const split = tf.reshape(table, [table.shape[0], blocks, 2, keyValueFeatures]);
  return tf.transpose(split, [1, 2, 0, 3]) as tf.Tensor4D;
}
