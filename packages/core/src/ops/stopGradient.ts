import * as tf from "@tensorflow/tfjs-core";

/**
 * x itself, which counts as a constant: for a value that depends on what learns, but that the gradient shall not see. Any shape.
 * Nothing behind x is computed for the gradient; a parameter that is used here alone has none, as one that is not used at all.
 */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  return withoutGradient(() => x);
}

/** run(), which counts as a constant: none of its operations is recorded, and nothing of them is kept for the backward pass. */
export function withoutGradient<T extends tf.Tensor>(run: () => T): T {
  // An operation without inputs: the record that the backward pass follows ends here.
  const op = tf.customGrad(() => ({ value: tf.clone(run()), gradFunc: () => [] }));
  return op() as T;
}
