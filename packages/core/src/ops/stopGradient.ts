import * as tf from "@tensorflow/tfjs-core";

/**
 * x itself, which counts as a constant: for a value that depends on what learns, but that the gradient shall not see. Any shape.
 * Nothing behind x is computed for the gradient; a parameter that is used here alone has none, as one that is not used at all.
 */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  // An operation without inputs: the record that the backward pass follows ends here.
  const op = tf.customGrad(() => ({ value: tf.clone(x), gradFunc: () => [] }));
  return op() as T;
}
