import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { reducedShape } from "../onnx/kernels/shapes.ts";
import { float, gradient, listOf, normalizeAxis, reducedAxes, zeros } from "./definition.ts";

/** ∂x = ∂y·[x = y] / #{x = y}: equal extremes share what one alone would get. `attribute` names the axes. */
function extreme(kernel: "Max" | "Min", attribute: "reductionIndices" | "axis"): tf.GradConfig {
  return gradient(
    { kernel, inputs: ["x"], outputs: ["y"] },
    (dy, { x, y }, attributes: Readonly<Record<string, number | readonly number[] | null | undefined>>) => ({
      x: () => {
        const axes = reducedAxes(attributes[attribute], x.rank);
        const kept = reducedShape(x.shape, axes, true);
        const hits = tf.cast(tf.equal(x, tf.reshape(y, kept)), "float32");
        return tf.mul(hits, tf.div(tf.reshape(dy, kept), tf.sum(hits, axes, true)));
      },
    }),
  );
}

/**
 * y = Π x: ∂xₖ = ∂y·Πⱼ≠ₖ xⱼ. Without a zero that is the product over xₖ; beside one zero all others vanish, and the zero itself
 * gets the product of the others; beside two zeros everything vanishes.
 */
const product = gradient({ kernel: "Prod", inputs: ["x"] }, (dy, saved, { axis }: Pick<tf.ProdAttrs, "axis">) => ({
  x: () => {
    const x = float(saved.x);
    const axes = reducedAxes(axis, x.rank);
    const isZero = tf.equal(x, 0);
    const others = tf.where(isZero, 1, x);
    const zeroCount = tf.sum(tf.cast(isZero, "float32"), axes, true);
    const rest = tf.prod(others, axes, true);
    const one = tf.mul(rest, tf.cast(tf.equal(zeroCount, 1), "float32"));
    const none = tf.mul(rest, tf.cast(tf.equal(zeroCount, 0), "float32"));
    return tf.mul(tf.reshape(dy, reducedShape(x.shape, axes, true)), tf.where(isZero, one, tf.div(none, others)));
  },
}));

/** yᵢ = Σⱼ≤ᵢ xⱼ: ∂xₖ = Σᵢ≥ₖ ∂yᵢ, the same sum from the other end. */
const cumulativeSum = gradient({ kernel: "Cumsum", inputs: ["x"] }, (dy, { x }, attributes: tf.CumsumAttrs) => ({
  x: () => tf.cumsum(dy, normalizeAxis(attributes.axis, x.rank), attributes.exclusive, !attributes.reverse),
}));

/**
 * yᵢ = Πⱼ≤ᵢ xⱼ: ∂xₖ = Σᵢ≥ₖ ∂yᵢ·yᵢ/xₖ. Where xₖ is 0, only the terms up to the next zero are left, with the product of what is not
 * zero instead of yᵢ/xₖ, and only for the first zero.
 */
const cumulativeProduct = gradient({ kernel: "Cumprod", inputs: ["x"] }, (dy, saved, attributes: tf.CumprodAttrs) => ({
  x: () => {
    const x = float(saved.x);
    const { exclusive, reverse } = attributes;
    const axis = normalizeAxis(attributes.axis, x.rank);
    const isZero = tf.equal(x, 0);
    const nonZero = tf.where(isZero, 1, x);
    const partial = tf.cumprod(nonZero, axis, exclusive, reverse);
    const zerosIn = (withOwn: boolean): tf.Tensor =>
      tf.cumsum(tf.cast(isZero, "float32"), axis, withOwn ? false : exclusive, reverse);
    const weighted = (zeroCount: number): tf.Tensor =>
      tf.cumsum(
        tf.mul(tf.mul(dy, partial), tf.cast(tf.equal(zerosIn(false), zeroCount), "float32")),
        axis,
        exclusive,
        !reverse,
      );
    const isFirst = tf.cast(tf.equal(zerosIn(true), 1), "float32");
    return tf.where(isZero, tf.mul(weighted(1), isFirst), tf.div(weighted(0), nonZero));
  },
}));

/** The values of the largest k; their places are integers and have none. */
const topK: tf.GradConfig = {
  kernelName: "TopK",
  inputsToSave: ["x"],
  outputsToSave: [false, true],
  gradFunc: (dys, saved) => ({
    x: () => {
      const [x, indices] = saved as [tf.Tensor, tf.Tensor];
      const [width, k] = [x.shape.at(-1) as number, indices.shape.at(-1) as number];
      const rows = sizeOf(x.shape.slice(0, -1));
      if (rows * k === 0) return zeros(x.shape);
      const offsets = tf.reshape(tf.mul(tf.range(0, rows, 1, "int32"), tf.scalar(width, "int32")), [rows, 1]);
      const places = tf.reshape(tf.add(tf.reshape(indices, [rows, k]), offsets), [rows * k, 1]);
      const values = tf.reshape(listOf(dys)[0] as tf.Tensor, [rows * k]);
      return tf.reshape(tf.scatterND(places, values, [rows * width]), x.shape);
    },
  }),
};

export const REDUCTIONS: readonly tf.GradConfig[] = [
  extreme("Max", "reductionIndices"),
  extreme("Min", "axis"),
  product,
  cumulativeSum,
  cumulativeProduct,
  topK,
];
