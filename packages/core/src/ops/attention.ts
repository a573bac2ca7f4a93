import * as tf from "@tensorflow/tfjs-core";
import { after } from "./after.ts";
import { dropoutMask, type DropoutSite } from "./dropout.ts";
import { keepInputs } from "./keepInputs.ts";

export interface AttentionOptions {
  /** Factor of the scores: 1/√d. */
  readonly scale: number;
  /** Added to the scores; broadcasts to [B, h, Tq, Tk]. */
  readonly bias?: tf.Tensor | null;
  /** Dropout of the probabilities. */
  readonly dropout?: DropoutSite | null;
}

/**
 * Scaled dot-product attention (Vaswani et al. 2017, eq. 1): O = drop(P)·V with P = softmax(s·Q·Kᵀ + bias).
 * query [B, h, Tq, d], key and value [B, h, Tk, d] → [B, h, Tq, d].
 *
 * The backward pass keeps Q, K, V and the bias and computes P again (Dao et al. 2022, section 3.1): with D = drop(P), ∂V = Dᵀ·∂O, ∂P = drop(∂O·Vᵀ),
 * ∂S = P∘(∂P − rowsum(∂P∘P)), ∂Q = s·∂S·K, ∂K = s·∂Sᵀ·Q, ∂bias = ∂S summed over what it was broadcast to.
 */
export function attention(
  { query, key, value }: { readonly query: tf.Tensor4D; readonly key: tf.Tensor4D; readonly value: tf.Tensor4D },
  options: AttentionOptions,
): tf.Tensor4D {
  const { bias } = options;
  return keepInputs([query, key, value, ...(bias === undefined || bias === null ? [] : [bias])], {
    value: (q, k, v, b?: tf.Tensor) => tf.matMul(keep(probabilities(q, k, b, options), options), v),
    gradients: (dy, kept) => gradients(dy, kept, options),
  });
}

function probabilities(
  q: tf.Tensor,
  k: tf.Tensor,
  bias: tf.Tensor | undefined,
  { scale }: AttentionOptions,
): tf.Tensor {
  const scores = tf.matMul(tf.mul(q, scale), k, false, true);
  return tf.softmax(bias === undefined ? scores : tf.add(scores, bias));
}

/** drop(x) with the site's mask, the same in both passes. */
function keep(x: tf.Tensor, { dropout }: AttentionOptions): tf.Tensor {
  if (dropout === undefined || dropout === null || dropout.rate === 0) return x;
  return tf.mul(x, dropoutMask(x.shape, dropout));
}

function gradients(dy: tf.Tensor, saved: readonly tf.Tensor[], options: AttentionOptions): tf.Tensor[] {
  const [q, k, v, bias] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor | undefined];
  const p = probabilities(after(q, dy), k, bias, options);
  const dp = keep(tf.matMul(dy, v, false, true), options);
  const ds = tf.mul(p, tf.sub(dp, tf.sum(tf.mul(dp, p), -1, true)));
  const result = [
    tf.mul(tf.matMul(ds, k), options.scale),
    tf.mul(tf.matMul(ds, q, true, false), options.scale),
    tf.matMul(keep(p, options), dy, true, false),
  ];
  return bias === undefined ? result : [...result, sumTo(ds, bias.shape)];
}

/** Sums x over the axes along which a tensor of `shape` was broadcast to it. */
function sumTo(x: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const offset = x.rank - shape.length;
  const axes = x.shape.flatMap((size, axis) =>
    axis < offset || (shape[axis - offset] === 1 && size !== 1) ? [axis] : [],
  );
  return axes.length === 0 ? x : tf.reshape(tf.sum(x, axes), [...shape]);
}
