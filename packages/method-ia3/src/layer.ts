import type { LayerSite } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/**
 * A layer whose output is scaled: y = (x·Wᵀ + b) ⊙ l, l [out, 1] (Liu et al. 2022, section 3.3: keys and values). The bias is scaled too.
 * y [n, out] → [n, out].
 */
export function scaleOutput(y: tf.Tensor2D, l: tf.Tensor2D): tf.Tensor2D {
  return tf.mul(y, tf.reshape(l, [1, -1]));
}

/** A layer whose input is scaled: y = (x ⊙ l)·Wᵀ + b, l [1, in] (section 3.3: the feed-forward activation). x [n, in] → [n, in]. */
export function scaleInput(x: tf.Tensor2D, l: tf.Tensor2D): tf.Tensor2D {
  return tf.mul(x, l);
}

/**
 * What merging adds to a weight in its stored layout: diag(l − 1)·W where the output is scaled, W·diag(l − 1) where the input is.
 * l − 1 runs along the weight's outputs or inputs.
 */
export function scaleDelta(
  weight: tf.Tensor2D,
  l: tf.Tensor2D,
  { layout, side }: { readonly layout: LayerSite["layout"]; readonly side: "input" | "output" },
): tf.Tensor2D {
  const alongRows = (side === "output") === (layout === "out_in");
  return tf.mul(weight, tf.reshape(tf.sub(l, 1), alongRows ? [-1, 1] : [1, -1]));
}
