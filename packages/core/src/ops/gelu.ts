import * as tf from "@tensorflow/tfjs-core";
import { keepInput, type ScalarFunction } from "./keepInput.ts";

/**
 * Exact GELU: y = x·Φ(x), Φ(x) = ½(1 + erf(x/√2)) (Hendrycks & Gimpel 2016). Any shape.
 * The backward pass keeps x alone and recomputes Φ: ∂x = ∂y·(Φ(x) + x·φ(x)), φ(x) = e^(−x²/2)/√(2π).
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  return keepInput(x, EXACT);
}

/**
 * GELU by tanh: y = ½x(1 + tanh u), u = √(2/π)·(x + 0.044715·x³) (Hendrycks & Gimpel 2016, section 2), up to 4.73e-4 away from
 * the exact function. Any shape. The backward pass keeps x alone and recomputes s = σ(2u) = ½(1 + tanh u):
 * ∂x = ∂y·s·(1 + (1 − s)·2u′x), u′x = √(2/π)·(x + 3·0.044715·x³).
 */
export function geluTanh<T extends tf.Tensor>(x: T): T {
  return keepInput(x, BY_TANH);
}

const INVERSE_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);
const TWO_SQRT_2_OVER_PI = 2 * Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

const EXACT: ScalarFunction = {
  kernel: "PeftGelu",
  value: (x) => tf.mul(x, cdf(x)),
  slope: (x) => {
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), INVERSE_SQRT_2PI);
    return tf.add(cdf(x), tf.mul(x, density));
  },
};

const BY_TANH: ScalarFunction = {
  kernel: "PeftGeluTanh",
  value: (x) => tf.mul(x, tf.sigmoid(cubic(x, CUBIC))),
  slope: (x) => {
    const s = tf.sigmoid(cubic(x, CUBIC));
    return tf.mul(s, tf.add(1, tf.mul(tf.sub(1, s), cubic(x, 3 * CUBIC))));
  },
};

function cdf(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
}

/** 2·√(2/π)·(x + c·x³) */
function cubic(x: tf.Tensor, c: number): tf.Tensor {
  return tf.mul(tf.mul(x, TWO_SQRT_2_OVER_PI), tf.add(1, tf.mul(tf.square(x), c)));
}
