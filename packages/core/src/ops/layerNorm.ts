import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

/**
 * Layer normalisation over the last axis (Ba et al. 2016): y = γ·(x − μ)/√(σ² + ε) + β, biased variance.
 * x [..., H], gamma and beta [H]. The backward pass keeps x and γ and recomputes μ and σ:
 * ∂x = (g − mean(g) − x̂·mean(g·x̂))/σ with g = ∂y·γ; ∂γ = Σ ∂y·x̂; ∂β = Σ ∂y.
 */
export function layerNorm<T extends tf.Tensor>(x: T, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): T {
  const op = tf.customGrad((...args: (tf.Tensor | ((saved: tf.Tensor[]) => void))[]) => {
    const [input, scale, shift] = args as [tf.Tensor, tf.Tensor, tf.Tensor];
    (args[3] as (saved: tf.Tensor[]) => void)([input, scale]);
    const value = composite("PeftLayerNorm", { x: input, gamma: scale, beta: shift }, { epsilon }, () =>
      tf.add(tf.mul(statistics(input, epsilon).normalized, scale), shift),
    );
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] =>
      gradients(dy, saved[0] as tf.Tensor, saved[1] as tf.Tensor, epsilon);
    // tfjs types the gradient of a function of several tensors as that of one.
    return { value, gradFunc: gradFunc as unknown as (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor };
  });
  return op(x, gamma as T, beta as T) as T;
}

/** All three; in a trace the ones that nobody needs are pruned. */
function gradients(dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, epsilon: number): tf.Tensor[] {
  const rows = x.shape.slice(0, -1).map((_, axis) => axis);
  const normalized = composite("PeftNormalize", { x }, { epsilon }, () => statistics(x, epsilon).normalized);
  return [inputGradient(dy, x, gamma, epsilon), tf.sum(tf.mul(dy, normalized), rows), tf.sum(dy, rows)];
}

function inputGradient(dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, epsilon: number): tf.Tensor {
  return composite("PeftLayerNormGrad", { dy, x, gamma }, { epsilon }, () => {
    const { normalized, inverseDeviation } = statistics(x, epsilon);
    const scaled = tf.mul(dy, gamma);
    const projected = tf.mul(normalized, tf.mean(tf.mul(scaled, normalized), -1, true));
    return tf.mul(tf.sub(tf.sub(scaled, tf.mean(scaled, -1, true)), projected), inverseDeviation);
  });
}

function statistics(x: tf.Tensor, epsilon: number): { normalized: tf.Tensor; inverseDeviation: tf.Tensor } {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const inverseDeviation = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
  return { normalized: tf.mul(centred, inverseDeviation), inverseDeviation };
}
