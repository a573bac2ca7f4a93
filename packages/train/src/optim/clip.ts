import type { Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** ‖g‖₂ over all gradients together. */
export function globalNorm(grads: Named<tf.Tensor>): tf.Scalar {
  if (Object.keys(grads).length === 0) return tf.scalar(0);
  const squares = Object.values(grads).map((g) => tf.sum(tf.square(g)));
  return tf.sqrt(squares.length === 1 ? (squares[0] as tf.Tensor) : tf.addN(squares)) as tf.Scalar;
}

/** Factor that limits the global norm: min(1, maxNorm/(‖g‖ + 1e-6)), as torch.nn.utils.clip_grad_norm_. */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  return tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6))) as tf.Scalar;
}

/** `clipScale` of a norm that is known on the host. */
export function clipFactor(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}
