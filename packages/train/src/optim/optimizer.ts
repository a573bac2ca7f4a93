import type { HostTensor, Named } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";

/** How one parameter differs from the rest. */
export interface ParamGroup {
  /** Multiplies the learning rate. */
  readonly lrScale: number;
  readonly weightDecay: number;
  /** Multiplies the update of each element (`scaledUpdate`); of the parameter's shape. Absent: 1. */
  readonly elementScale?: HostTensor;
}

/** Chooses the group of a parameter; what it leaves out keeps the default. */
export type ParamGroupRule = (parameter: {
  readonly name: string;
  readonly shape: readonly number[];
}) => Partial<ParamGroup>;

export interface UpdateContext {
  readonly params: Named<tf.Tensor>;
  /** Gradients by parameter name. A parameter without one is left as it is, as in torch. */
  readonly grads: Named<tf.Tensor>;
  /** Group of every parameter, from `Optimizer.group`. */
  readonly groups: Named<ParamGroup>;
  readonly state: Named<tf.Tensor>;
  /** What `Optimizer.scalars` returned for this step. */
  readonly scalars: Named<tf.Tensor>;
  /** Multiplies every gradient (clipping); null is 1. A factor costs less than scaled copies of all gradients. */
  readonly gradientScale: tf.Scalar | null;
}

export interface Update {
  readonly params: Named<tf.Tensor>;
  readonly state: Named<tf.Tensor>;
}

/**
 * A first-order optimizer. `update` is pure and traceable; whatever changes from step to step reaches it through
 * `scalars`, so that one compiled program serves the whole run.
 */
export interface Optimizer {
  readonly name: string;
  /** The update of an element depends on that element alone: small parameters may be joined into one vector. */
  readonly elementwise: boolean;
  /** State is one tensor of the parameter's shape per slot, keyed `<slot>.<parameter>`, zero before the first step. */
  readonly slots: readonly string[];
  group(parameter: { readonly name: string; readonly shape: readonly number[] }): ParamGroup;
  /** Inputs of one step; `step` counts from 1. */
  scalars(step: number, learningRate: number): Named<HostTensor>;
  update(context: UpdateContext): Update;
}
