import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

const INVERSE_SQRT_2 = Math.SQRT1_2;
const INVERSE_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

/**
 * Exact GELU: y = x·Φ(x), Φ(x) = ½(1 + erf(x/√2)) (Hendrycks & Gimpel 2016). Any shape.
 * The backward pass keeps x alone and recomputes Φ: ∂x = ∂y·(Φ(x) + x·φ(x)).
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  const op = tf.customGrad(
    (input: tf.Tensor | ((saved: tf.Tensor[]) => void), save: tf.Tensor | ((saved: tf.Tensor[]) => void)) => {
      const value = input as tf.Tensor;
      (save as (saved: tf.Tensor[]) => void)([value]);
      return {
        value: geluForward(value),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => geluBackward(dy, saved[0] as tf.Tensor),
      };
    },
  );
  return op(x) as T;
}

function geluForward(x: tf.Tensor): tf.Tensor {
  return composite("PeftGelu", { x }, {}, () => tf.mul(x, cdf(x)));
}

function geluBackward(dy: tf.Tensor, x: tf.Tensor): tf.Tensor {
  return composite("PeftGeluGrad", { dy, x }, {}, () => {
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), INVERSE_SQRT_2PI);
    return tf.mul(dy, tf.add(cdf(x), tf.mul(x, density)));
  });
}

function cdf(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, INVERSE_SQRT_2)), 1), 0.5);
}
