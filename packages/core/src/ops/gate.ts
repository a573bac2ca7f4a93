import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";
import { keepInputs } from "./keepInputs.ts";

/**
 * x where `open` is not 0, else zeros of its shape; the gradient passes the same gate. A compiled program computes x, and what nothing
 * else needs of what leads to it, only when the gate is open; other backends compute both.
 */
export function gate<T extends tf.Tensor>(x: T, open: tf.Scalar): T {
  return keepInputs([x], {
    value: (input) =>
      composite("PeftGate", { x: input, open }, {}, () => tf.where(tf.notEqual(open, 0), input, tf.zerosLike(input))),
    gradients: (dy, [, kept]) => [gate(dy, kept as tf.Scalar)],
    constants: [open],
  });
}
