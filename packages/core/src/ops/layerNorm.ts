import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

/**
 * Layer normalisation over the last axis (Ba et al. 2016): y = γ·(x − μ)/√(σ² + ε) + β, biased variance.
 * x [..., H], gamma and beta [H]. The backward pass recomputes μ and σ from x.
 */
export function layerNorm<T extends tf.Tensor>(x: T, gamma: tf.Tensor, beta: tf.Tensor, epsilon: number): T {
  const op = tf.customGrad((...args: (tf.Tensor | ((saved: tf.Tensor[]) => void))[]) => {
    const [input, scale, shift] = args as [tf.Tensor, tf.Tensor, tf.Tensor];
    (args[3] as (saved: tf.Tensor[]) => void)([input, scale]);
    const value = composite("PeftLayerNorm", { x: input, gamma: scale, beta: shift }, { epsilon }, () =>
      tf.add(tf.mul(normalize(input, epsilon).normalized, scale), shift),
    );
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => backward(dy, saved[0] as tf.Tensor, saved[1] as tf.Tensor, epsilon);
    return { value, gradFunc: gradFunc as unknown as (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor };
  });
  return op(x, gamma as T, beta as T) as T;
}

/** The three gradients in turn; in a trace the unused ones are pruned. */
function backward(dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, epsilon: number): tf.Tensor[] {
  const { normalized, inverseDeviation } = normalize(x, epsilon);
  const rows = x.shape.slice(0, -1).map((_, axis) => axis);
  const scaled = tf.mul(dy, gamma);
  const meanScaled = tf.mean(scaled, -1, true);
  const meanProjected = tf.mean(tf.mul(scaled, normalized), -1, true);
  const dx = tf.mul(tf.sub(tf.sub(scaled, meanScaled), tf.mul(normalized, meanProjected)), inverseDeviation);
  return [dx, tf.sum(tf.mul(dy, normalized), rows), tf.sum(dy, rows)];
}

function normalize(x: tf.Tensor, epsilon: number): { normalized: tf.Tensor; inverseDeviation: tf.Tensor } {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const inverseDeviation = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
  return { normalized: tf.mul(centred, inverseDeviation), inverseDeviation };
}
