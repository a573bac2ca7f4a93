import * as tf from "@tensorflow/tfjs-core";
import { activate, type NonLinearity } from "./activations.ts";

/**
 * Where an adapter sits on a layer y = x·Wᵀ + b [n, in] → [n, out]:
 * `before` and `after` it in series, or `parallel` to it. See {@link adaptedLayer}.
 */
export type Placement = "before" | "after" | "parallel";

/** D [r, from], U [to, r] for a bottleneck of r, with biases e [r] and g [to] or without; c is a number or learns, [1]. */
export interface BottleneckTensors {
  readonly down: tf.Tensor2D;
  readonly up: tf.Tensor2D;
  readonly downBias?: tf.Tensor1D | undefined;
  readonly upBias?: tf.Tensor1D | undefined;
  readonly scale: number | tf.Tensor;
  readonly nonLinearity: NonLinearity;
}

/**
 * The adapter: c·f(x), f(x) = act(x·Dᵀ + e)·Uᵀ + g (Houlsby et al. 2019, section 2.1), e and g zero unless given
 * (Hu et al. 2023, eq. 2). x [n, from] → [n, to]. c multiplies the narrow product [n, r], not the wide result.
 */
export function bottleneck(x: tf.Tensor2D, tensors: BottleneckTensors): tf.Tensor2D {
  const { down, up, downBias, upBias, scale, nonLinearity } = tensors;
  const narrow = activate(plus(tf.matMul(x, down, false, true), downBias), nonLinearity);
  const wide: tf.Tensor2D = tf.matMul(scaled(narrow, scale), up, false, true);
  return plus(wide, upBias && scaled(upBias, scale));
}

function plus(x: tf.Tensor2D, bias: tf.Tensor1D | undefined): tf.Tensor2D {
  return bias === undefined ? x : tf.add(x, bias);
}

function scaled<T extends tf.Tensor>(x: T, scale: number | tf.Tensor): T {
  return scale === 1 ? x : tf.mul(x, scale);
}

export interface AdaptedLayerOptions {
  readonly placement: Placement;
  /** The layer, W(x) = x·Wᵀ + b. */
  readonly base: (x: tf.Tensor2D) => tf.Tensor2D;
  /** x ↦ c·f(drop(x)). */
  readonly adapter: (x: tf.Tensor2D) => tf.Tensor2D;
}

/**
 * A layer with its adapter (Hu et al. 2023, eq. 2 and 3; He et al. 2022, table 1):
 * before, W(x + c·f(x)); after, y + c·f(y) with y = W(x); parallel, W(x) + c·f(x). x [n, in] → [n, out].
 */
export function adaptedLayer(x: tf.Tensor2D, { placement, base, adapter }: AdaptedLayerOptions): tf.Tensor2D {
  if (placement === "parallel") return tf.add(base(x), adapter(x));
  if (placement === "before") return base(tf.add(x, adapter(x)));
  const y = base(x);
  return tf.add(y, adapter(y));
}
