import { stopGradient } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { loraDelta } from "../lora/layer.ts";
import type { LoraTensors } from "../lora/layer.ts";

/** Shapes: those of LoRA, W [out, in] or [in, out] as `layout` says, m [out]. V = W + s·B·A. */
export interface DoraTensors extends LoraTensors {
  readonly magnitude: tf.Tensor1D;
  readonly weight: tf.Tensor2D;
  readonly layout: LayerSite["layout"];
  /** The gradient takes n as constant. */
  readonly detachNorm: boolean;
}

/**
 * c = m/n [out] with n = ‖V‖ over the inputs (Liu et al. 2024, eq. 5; one magnitude per output, as in the authors' code). n takes no
 * part in the gradient (section 4.3) when `detachNorm`, so that ∂m = ∂c/n is all there is of it.
 */
export function magnitudeScale(tensors: DoraTensors): tf.Tensor1D {
  const norm = rowNorm(tensors);
  return tf.div(tensors.magnitude, tensors.detachNorm ? stopGradient(norm) : norm);
}

/** n² below which a row of V counts as zero: c is then m·10¹⁵ instead of m/0, and 0 for the zero m of a row that W has at zero. */
const SMALLEST = 1e-30;

/**
 * n = ‖W + s·B·A‖ over the inputs, [out], without forming B·A:
 * n² = rowsum(W²) + 2s·rowsum(B⊙(W·Aᵀ)) + s²·rowsum((B·(A·Aᵀ))⊙B). Cancellation may take the sum below zero: it is clamped.
 */
export function rowNorm({
  a,
  b,
  scale,
  weight,
  layout,
}: Pick<DoraTensors, "a" | "b" | "scale" | "weight" | "layout">): tf.Tensor1D {
  const own = tf.sum(tf.square(weight), layout === "out_in" ? 1 : 0);
  const projected = tf.matMul(weight, a, layout === "in_out", true);
  const gram = tf.matMul(b, tf.matMul(a, a, false, true));
  const change = tf.sum(tf.mul(b, tf.add(tf.mul(projected, 2 * scale), tf.mul(gram, scale ** 2))), 1);
  const squared: tf.Tensor1D = tf.maximum(tf.add(own, change), SMALLEST);
  return tf.sqrt(squared);
}

/** What merging adds: c⊙(W + s·B·A) − W, in the stored layout. */
export function doraDelta(tensors: DoraTensors): tf.Tensor2D {
  const { weight, layout } = tensors;
  const scale = magnitudeScale(tensors);
  const columns = layout === "out_in" ? tf.reshape(scale, [-1, 1]) : scale;
  return tf.sub(tf.mul(tf.add(weight, loraDelta(tensors, layout)), columns), weight);
}
