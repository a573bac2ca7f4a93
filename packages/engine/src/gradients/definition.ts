import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { normalizeAxes } from "../onnx/kernels/shapes.ts";

/** One function per input that has a gradient. */
export type Partials = Readonly<Record<string, () => tf.Tensor>>;

interface Saves<N extends string> {
  readonly kernel: string;
  /** Inputs that the gradient reads. */
  readonly inputs?: readonly N[];
  /** Names of the results that the gradient reads, null for one that it does not. */
  readonly outputs?: readonly (N | null)[];
}

/** A gradient whose saved tensors are read by name. tfjs asks for a float32 tensor of the input's shape from every partial. */
export function gradient<N extends string = never, A = unknown>(
  { kernel, inputs = [], outputs = [] }: Saves<N>,
  backward: (dy: tf.Tensor, saved: Readonly<Record<N, tf.Tensor>>, attributes: A) => Partials,
): tf.GradConfig {
  const names = [...inputs, ...outputs.filter((name) => name !== null)];
  return {
    kernelName: kernel,
    inputsToSave: [...inputs],
    outputsToSave: outputs.map((name) => name !== null),
    gradFunc: (dy, saved, attributes) => {
      const named = Object.fromEntries(names.map((name, i) => [name, saved[i]])) as Record<N, tf.Tensor>;
      return backward(dy as tf.Tensor, named, attributes as unknown as A);
    },
  };
}

/** A gradient of a kernel with several results, which is one tensor and no list where there is one result only. */
export function listOf(dy: tf.Tensor | tf.Tensor[]): tf.Tensor[] {
  return Array.isArray(dy) ? dy : [dy];
}

/** What an input gets that the result does not depend on smoothly. float32, whatever the input's type: tfjs accepts nothing else. */
export function zeros(shape: readonly number[]): tf.Tensor {
  return tf.fill([...shape], 0, "float32");
}

/** int32 and bool inputs take part in a gradient as numbers. */
export function float(x: tf.Tensor): tf.Tensor {
  return x.dtype === "float32" ? x : tf.cast(x, "float32");
}

/**
 * Σ of `x` over the axes along which a tensor of `shape` was repeated to give x's shape.
 * Always a new tensor: tfjs disposes of a partial when it adds another one to it.
 */
export function sumTo(x: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const extra = x.shape.length - shape.length;
  const axes = x.shape.flatMap((size, axis) => (axis < extra || shape[axis - extra] !== size ? [axis] : []));
  return tf.reshape(axes.length === 0 ? x : tf.sum(x, axes), [...shape]);
}

/** The axis counted from the front. */
export function normalizeAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The axes of a reduction, counted from the front; all of them for `null` and `undefined`, as in tfjs. */
export function reducedAxes(axes: number | readonly number[] | null | undefined, rank: number): number[] {
  return normalizeAxes([axes ?? Array.from({ length: rank }, (_, axis) => axis)].flat() as number[], rank);
}

/** x [..., n, ...] as [outer, n, inner] around `axis`. */
export function around(shape: readonly number[], axis: number): { readonly outer: number; readonly inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), inner: sizeOf(shape.slice(axis + 1)) };
}
