import { float32, PeftError, sizeOf } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

export interface ScaledUpdate {
  /** The parameter before the update. */
  readonly before: tf.Tensor;
  /** What the optimizer, or a rule, made of it. */
  readonly after: tf.Tensor;
  /** Factors, of the same shape. */
  readonly scale: tf.Tensor;
}

/**
 * p + s ⊙ (p′ − p), traced: the update of each element times its factor, weight decay included, as a learning rate of the element's own
 * would have it, if the update of an element depends on that element alone (SGD, Adam, AdamW). Where s is 0 the result is p, and where
 * it is 1 p′, without rounding, whatever the other one is.
 */
export function scaledUpdate({ before, after, scale }: ScaledUpdate): tf.Tensor {
  const scaled = tf.add(before, tf.mul(tf.sub(after, before), scale));
  return tf.where(tf.equal(scale, 0), before, tf.where(tf.equal(scale, 1), after, scaled));
}

/**
 * Host: the factors of every element, in the parameter's own shape, from some that broadcast to it.
 * @throws PeftError `SHAPE_MISMATCH` when they do not.
 */
export function broadcastScale(
  scale: HostTensor,
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
): HostTensor {
  const missing = shape.length - scale.shape.length;
  const own = [...Array<number>(Math.max(missing, 0)).fill(1), ...scale.shape];
  if (missing < 0 || own.some((size, axis) => size !== 1 && size !== shape[axis])) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `The factors of the update of "${name}" have shape [${scale.shape.join(", ")}], which does not broadcast to its [${shape.join(", ")}]. Give one factor per element, or 1 along an axis.`,
    );
  }
  return float32(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => scale.data[source(i, { own, shape })] as number),
    [...shape],
  );
}

/** Place of the factor of element `i`. */
function source(
  i: number,
  { own, shape }: { readonly own: readonly number[]; readonly shape: readonly number[] },
): number {
  let [rest, place, stride] = [i, 0, 1];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const [size, factors] = [shape[axis] as number, own[axis] as number];
    if (factors !== 1) place += (rest % size) * stride;
    stride *= factors;
    rest = Math.floor(rest / size);
  }
  return place;
}
