import type { Named, TensorSpec } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { PerAxis } from "../projection.ts";

export interface RuleInput {
  /** R, the projected gradient. */
  readonly reduced: tf.Tensor2D;
  readonly state: Named<tf.Tensor>;
  /** What `scalars` returned for this step. */
  readonly scalars: Named<tf.Tensor>;
}

export interface RuleOutput {
  /** η·N: what is projected back and subtracted, of the shape of R. */
  readonly step: tf.Tensor2D;
  readonly state: Named<tf.Tensor>;
}

/** An optimizer inside the subspace. `step` and `carry` are pure and traceable. */
export interface InnerRule {
  /** State tensors for a projected gradient of this shape, by name; zero before the first step. */
  slots(reduced: readonly [number, number]): Readonly<Record<string, TensorSpec>>;
  /** What changes from step to step; `step` counts from 1, and from 1 again after a reset. `learningRate` is among them. */
  scalars(step: number, learningRate: number): Readonly<Record<string, number>>;
  step(input: RuleInput): RuleOutput;
  /**
   * The state in a new basis; absent where it cannot be expressed there. A turn is P′·Pᵀ [r, r], from the old basis P to the new one P′:
   * M ← T·M (rows), M·Tᵀ (columns).
   */
  carry?(state: Named<tf.Tensor>, options: CarryOptions): Named<tf.Tensor>;
}

export interface CarryOptions {
  readonly reduced: readonly [number, number];
  readonly turns: PerAxis<tf.Tensor2D>;
}
