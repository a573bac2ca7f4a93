import * as tf from "@tensorflow/tfjs-core";
import { keepInput } from "./keepInput.ts";

/**
 * SiLU, also called swish: y = x·σ(βx) (Ramachandran et al. 2017). Any shape; β = 1.702 is the GELU by a sigmoid.
 * The backward pass keeps x alone and recomputes s = σ(βx): ∂x = ∂y·s·(1 + βx·(1 − s)).
 */
export function silu<T extends tf.Tensor>(x: T, beta = 1): T {
  const sigmoid = (input: tf.Tensor): tf.Tensor => tf.sigmoid(tf.mul(input, beta));
  return keepInput(x, {
    kernel: "PeftSilu",
    attributes: { beta },
    value: (input) => tf.mul(input, sigmoid(input)),
    slope: (input) => {
      const s = sigmoid(input);
      return tf.mul(s, tf.add(1, tf.mul(tf.mul(input, beta), tf.sub(1, s))));
    },
  });
}
