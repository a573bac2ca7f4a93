import type { Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { encode } from "../virtualTokens/encoder.ts";

/**
 * The virtual tokens P [n, H]: as they are, or W₃·relu(W₂·relu(W₁·e + b₁) + b₂) + b₃ for every row e of E [n, H] (Liu et al. 2021,
 * section 3.2, with the MLP of the Python library), W₁ [h, H], W₂ [h, h], W₃ [H, h].
 */
export function virtualEmbeddings(params: Named<tf.Tensor>): tf.Tensor2D {
  return encode(params, (x) => tf.relu(x));
}
