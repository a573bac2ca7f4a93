import type { Forward } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** tanh(W·x₀ + b) of the first token's hidden state. first [B, H] → [B, H]. */
export function pool(f: Forward, path: string, first: tf.Tensor2D): tf.Tensor2D {
  return tf.tanh(f.linear(`${path}pooler.dense`, first)) as tf.Tensor2D;
}
