import * as tf from "@tensorflow/tfjs-core";
import { gradient, sumTo, zeros } from "./definition.ts";

/** y = γ·(x − μ)/√(σ² + ε) + β with given statistics, each of which may broadcast. */
const batchNorm = gradient(
  { kernel: "FusedBatchNorm", inputs: ["x", "mean", "variance", "scale"] },
  (dy, { x, mean, variance, scale }, { varianceEpsilon }: tf.FusedBatchNormAttrs) => {
    const inverse = (): tf.Tensor => tf.rsqrt(tf.add(variance, varianceEpsilon));
    const centred = (): tf.Tensor => tf.sub(x, mean);
    const input = (): tf.Tensor => tf.mul(tf.mul(dy, scale), inverse());
    return {
      x: () => input(),
      mean: () => sumTo(tf.neg(input()), mean.shape),
      variance: () => sumTo(tf.mul(tf.mul(input(), centred()), tf.mul(tf.square(inverse()), -0.5)), variance.shape),
      scale: () => sumTo(tf.mul(tf.mul(dy, centred()), inverse()), scale.shape),
      offset: () => sumTo(dy, mean.shape),
    };
  },
);

/** The windows of one spatial axis. */
interface Windows {
  readonly size: number;
  readonly filter: number;
  readonly stride: number;
  readonly before: number;
  readonly count: number;
}

/** Zeros after the last element, so that every window lies inside. */
const after = ({ size, filter, stride, before, count }: Windows): number =>
  Math.max(0, (count - 1) * stride + filter - before - size);

/** filter / (elements of the window that exist), for every window. */
function excess({ size, filter, stride, before, count }: Windows): number[] {
  return Array.from({ length: count }, (_, i) => {
    const first = i * stride - before;
    return filter / (Math.min(first + filter, size) - Math.max(first, 0));
  });
}

/**
 * A mean over windows divides by the elements that exist, at a border too. tfjs's own gradient kernel divides by the whole
 * window there; with the border made of zeros no window crosses it, and ∂y carries the difference.
 */
function averagePool(dy: tf.Tensor, x: tf.Tensor, axes: readonly Windows[], kernel: string): tf.Tensor {
  const rank = x.rank;
  const scaled = axes.reduce<tf.Tensor>((value, windows, i) => {
    const factors = excess(windows);
    if (factors.every((factor) => factor === 1)) return value;
    const shape = Array.from({ length: rank }, (_, axis) => (axis === i + 1 ? factors.length : 1));
    return tf.mul(value, tf.tensor(factors, shape));
  }, dy);
  const padded = x.shape.map((size, axis) => {
    const windows = axes[axis - 1];
    return windows === undefined ? size : windows.before + size + after(windows);
  });
  const attributes = {
    filterSize: axes.map(({ filter }) => filter),
    strides: axes.map(({ stride }) => stride),
    pad: "valid",
  };
  const partial = tf.engine().runKernel(kernel, { dy: scaled, input: zeros(padded) }, attributes) as tf.Tensor;
  const begin = x.shape.map((_, axis) => axes[axis - 1]?.before ?? 0);
  return tf.slice(partial, begin, x.shape);
}

const averagePool2D = gradient({ kernel: "AvgPool", inputs: ["x"] }, (dy, { x }, attributes: tf.AvgPoolAttrs) => ({
  x: () => {
    const { filterSize, strides, pad, dimRoundingMode } = attributes;
    const shape = x.shape as [number, number, number, number];
    const info = tf.backend_util.computePool2DInfo(shape, filterSize, strides, 1, pad, dimRoundingMode);
    const rows = { size: info.inHeight, filter: info.filterHeight, stride: info.strideHeight };
    const columns = { size: info.inWidth, filter: info.filterWidth, stride: info.strideWidth };
    return averagePool(
      dy,
      x,
      [
        { ...rows, before: info.padInfo.top, count: info.outHeight },
        { ...columns, before: info.padInfo.left, count: info.outWidth },
      ],
      "AvgPoolGrad",
    );
  },
}));

const averagePool3D = gradient({ kernel: "AvgPool3D", inputs: ["x"] }, (dy, { x }, attributes: tf.AvgPool3DAttrs) => ({
  x: () => {
    const { filterSize, strides, pad, dimRoundingMode } = attributes;
    const shape = x.shape as [number, number, number, number, number];
    const info = tf.backend_util.computePool3DInfo(shape, filterSize, strides, 1, pad, dimRoundingMode);
    const depth = { size: info.inDepth, filter: info.filterDepth, stride: info.strideDepth };
    const rows = { size: info.inHeight, filter: info.filterHeight, stride: info.strideHeight };
    const columns = { size: info.inWidth, filter: info.filterWidth, stride: info.strideWidth };
    return averagePool(
      dy,
      x,
      [
        { ...depth, before: info.padInfo.front, count: info.outDepth },
        { ...rows, before: info.padInfo.top, count: info.outHeight },
        { ...columns, before: info.padInfo.left, count: info.outWidth },
      ],
      "AvgPool3DGrad",
    );
  },
}));

export const LAYERS: readonly tf.GradConfig[] = [batchNorm, averagePool2D, averagePool3D];
