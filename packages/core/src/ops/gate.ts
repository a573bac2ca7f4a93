import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

/**
 * x where `open` is not 0, else zeros of its shape. A compiled program computes x, and what nothing else needs of what leads to it, only
 * when the gate is open; other backends compute both.
 */
export function gate<T extends tf.Tensor>(x: T, open: tf.Scalar): T {
  return composite("PeftGate", { x, open }, {}, () => tf.where(tf.notEqual(open, 0), x, tf.zerosLike(x)));
}
