import type * as tf from "@tensorflow/tfjs-core";
import type { TensorRunner } from "../runner.ts";
import type { DType, HostTensor, Named } from "../tensors.ts";

/** Shape and type of a tensor. */
export interface TensorSpec {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/**
 * How one parameter is updated instead of by the run's optimizer: p, G, state → p′, state′. Tensor functions (`update`, `reduce`, `sketch`)
 * are pure and traceable, and may depend on nothing but `kind` and shapes; everything else is a scalar or state.
 *
 * In a step: gradients, the clip factor of their global norm, `refresh` where it is due, `update`.
 */
export interface ParameterRule {
  /** Parameters of equal kind and shape share a program. */
  readonly kind: string;
  /** Tensors by slot, of any shape; zero before the first update. Checkpoints hold them as `<slot>.<parameter>`. */
  readonly state: Readonly<Record<string, TensorSpec>>;
  /** Host: the numbers of this update. */
  scalars(context: RuleContext): Readonly<Record<string, number>>;
  update(input: RuleUpdate): { readonly parameter: tf.Tensor; readonly state: Named<tf.Tensor> };
  /** Host: whether `refresh` is to run before this update. */
  refreshDue?(context: Omit<RuleContext, "learningRate">): boolean;
  /** Host: writes into the live state. */
  refresh?(context: RefreshContext): Promise<void>;
  /**
   * Traced: what leaves the gradient's program in its place, linear in G for a given state, so that micro-batches add up. The whole
   * gradient then lives only until it is reduced: one parameter's at a time.
   */
  reduce?(gradient: tf.Tensor, state: Named<tf.Tensor>): tf.Tensor;
  /** With `reduce`: shape of what it returns. */
  readonly reduced?: readonly number[];
  /** With `reduce`, traced: what `refresh` is given in place of the gradient, by name. From the step's first micro-batch. */
  sketch?(gradient: tf.Tensor, inputs: Named<tf.Tensor>): Named<tf.Tensor>;
  /** Host: what `sketch` is given. */
  sketchInputs?(context: Omit<RuleContext, "learningRate">): Named<HostTensor>;
}

/** One parameter before one of its updates. */
export interface RuleContext {
  /** Key of the parameter. */
  readonly key: string;
  /** Number of this update of the parameter, from 1. It stands still while the parameter pauses. */
  readonly updates: number;
  /** Of this step and of the parameter's group. */
  readonly learningRate: number;
  /** Live tensors. */
  readonly state: Named<HostTensor>;
}

export interface RuleUpdate {
  readonly parameter: tf.Tensor;
  /** The gradient, or what `reduce` made of it. */
  readonly gradient: tf.Tensor;
  /** Multiplies the gradient (clipping); null is 1. */
  readonly gradientScale: tf.Scalar | null;
  readonly state: Named<tf.Tensor>;
  readonly scalars: Named<tf.Tensor>;
}

export interface RefreshContext extends Omit<RuleContext, "learningRate"> {
  /** `gradient`, unclipped, of the whole step; or what `sketch` returned. */
  readonly values: Named<HostTensor>;
  readonly runner: TensorRunner;
}
