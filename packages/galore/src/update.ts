import type { Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { backproject } from "./projection.ts";
import type { PerAxis } from "./projection.ts";
import type { InnerRule } from "./rules/rule.ts";
import { tensorOf } from "./rules/tensorOf.ts";

export interface UpdateInput {
  /** W [m, n]. */
  readonly weight: tf.Tensor2D;
  /** R = P·G·Qᵀ. */
  readonly reduced: tf.Tensor2D;
  readonly bases: PerAxis<tf.Tensor2D>;
  readonly state: Named<tf.Tensor>;
  /** What the rule asks for, of this matrix's own learning rate η. */
  readonly scalars: Named<tf.Tensor>;
}

export interface UpdateOptions {
  readonly inner: InnerRule;
  /** α. */
  readonly scale: number;
  /** λ, of this matrix. */
  readonly weightDecay: number;
}

/**
 * One step of GaLore (Zhao et al. 2024, algorithm 1): N from the rule, W ← W − α·Pᵀ·(η·N)·Q; then, as the published code,
 * W ← W − η·λ·W on the whole updated weight, not scaled by α. Pure and traceable.
 */
export function updateMatrix(
  { weight, reduced, bases, state, scalars }: UpdateInput,
  { inner, scale, weightDecay }: UpdateOptions,
): { readonly weight: tf.Tensor2D; readonly state: Named<tf.Tensor> } {
  const result = inner.step({ reduced, state, scalars });
  const updated: tf.Tensor2D = tf.sub(weight, backproject(tf.mul(result.step, scale), bases));
  if (weightDecay === 0) return { weight: updated, state: result.state };
  const keep = tf.sub(1, tf.mul(tensorOf(scalars, "learningRate"), weightDecay));
  return { weight: tf.mul(updated, keep), state: result.state };
}
