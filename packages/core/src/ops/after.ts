import type * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

/**
 * x, not before `token` is computed. A compiled program is free to run what it can as early as it likes; what is recomputed to save
 * memory would then be computed at once and kept. On other backends calls run in the order in which they are made: x itself.
 */
export function after<T extends tf.Tensor>(x: T, token: tf.Tensor): T {
  return composite("PeftAfter", { x, token }, {}, () => x);
}
