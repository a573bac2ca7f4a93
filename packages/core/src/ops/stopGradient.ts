import * as tf from "@tensorflow/tfjs-core";

/** x itself, which counts as a constant: ∂x = 0. For a value that depends on what learns and that the gradient shall not see. Any shape. */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  const op = tf.customGrad((...args) => {
    const input = args[0] as tf.Tensor;
    return { value: tf.clone(input), gradFunc: (dy: tf.Tensor) => tf.zerosLike(dy) };
  });
  return op(x) as T;
}
