import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";
import { keepInputs } from "./keepInputs.ts";

/**
 * Layer normalisation over the last axis (Ba et al. 2016): y = γ·(x − μ)/√(σ² + ε) + β, biased variance.
 * x [..., H], gamma and beta [H]. The backward pass keeps x and γ and recomputes μ and σ:
 * ∂x = (g − mean(g) − x̂·mean(g·x̂))/σ with g = ∂y·γ; ∂γ = Σ ∂y·x̂; ∂β = Σ ∂y.
 */
export function layerNorm<T extends tf.Tensor>(x: T, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): T {
  return keepInputs([x, gamma, beta], {
    value: (input, scale, shift) =>
      composite("PeftLayerNorm", { x: input, gamma: scale, beta: shift }, { epsilon }, () =>
        tf.add(tf.mul(statistics(input, epsilon).normalized, scale), shift),
      ),
    gradients: (dy, [input, scale]) => gradients(dy, input, scale, epsilon),
  });
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
