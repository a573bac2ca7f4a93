import { float32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { BRANCHES, REGISTERED } from "./gradientCases.ts";
import type { GradientCase } from "./gradientHarness.ts";
import { checkDifferences, gradientCase as at, indices, tensorOf } from "./gradientHarness.ts";
import "./harness.ts";

type T = tf.Tensor;
type Unary = (x: T) => T;

/** Smooth functions with a range in which they are. */
const SMOOTH: Readonly<Record<string, readonly [op: Unary, from: number, to: number]>> = {
  acos: [tf.acos, -0.8, 0.8],
  acosh: [tf.acosh, 1.2, 3],
  asin: [tf.asin, -0.8, 0.8],
  asinh: [tf.asinh, -2, 2],
  atan: [tf.atan, -2, 2],
  atanh: [tf.atanh, -0.8, 0.8],
  cos: [tf.cos, -2, 2],
  cosh: [tf.cosh, -2, 2],
  erf: [tf.erf, -2, 2],
  exp: [tf.exp, -2, 2],
  expm1: [tf.expm1, -2, 2],
  log: [tf.log, 0.3, 3],
  log1p: [tf.log1p, -0.5, 2],
  logSigmoid: [tf.logSigmoid, -2, 2],
  neg: [tf.neg, -2, 2],
  reciprocal: [tf.reciprocal, 0.5, 2],
  rsqrt: [tf.rsqrt, 0.5, 2],
  sigmoid: [tf.sigmoid, -2, 2],
  sin: [tf.sin, -2, 2],
  sinh: [tf.sinh, -2, 2],
  softplus: [tf.softplus, -2, 2],
  sqrt: [tf.sqrt, 0.3, 2],
  square: [tf.square, -2, 2],
  tan: [tf.tan, -1, 1],
  tanh: [tf.tanh, -2, 2],
  softmax: [(x) => tf.softmax(x), -2, 2],
  logSoftmax: [(x) => tf.logSoftmax(x), -2, 2],
  logSumExp: [(x) => tf.logSumExp(x, 0), -2, 2],
  norm: [(x) => tf.norm(x, 2, 1), 0.5, 2],
  moments: [(x) => tf.moments(x, [-1], true).variance, -2, 2],
  sum: [(x) => tf.sum(x, [0]), -2, 2],
  mean: [(x) => tf.mean(x, -1, true), -2, 2],
  max: [(x) => tf.max(x, -1), -2, 2],
  min: [(x) => tf.min(x, [0, 1]), -2, 2],
  prod: [(x) => tf.prod(x, 1), -2, 2],
  cumsum: [(x) => tf.cumsum(x, 0), -2, 2],
  clone: [(x) => tf.mul(tf.clone(x), x), -2, 2],
  cast: [(x) => tf.cast(x, "float32"), -2, 2],
  addN: [(x) => tf.addN([x, x, tf.square(x)]), -2, 2],
  zerosLike: [(x) => tf.add(tf.zerosLike(x), x), -2, 2],
  onesLike: [(x) => tf.mul(tf.onesLike(x), x), -2, 2],
  oneHot: [(x) => tf.mul(tf.oneHot(tf.argMax(x), 3), tf.transpose(x)), -2, 2],
  reshape: [(x) => tf.reshape(x, [-1]), -2, 2],
  expandDims: [(x) => tf.expandDims(x, 1), -2, 2],
  transpose: [(x) => tf.transpose(x), -2, 2],
  slice: [(x) => tf.slice(x, [1], [1]), -2, 2],
  reverse: [(x) => tf.reverse(x, -1), -2, 2],
  pad: [(x) => tf.pad(x, [[1, 0], [0, 2]], 0.5), -2, 2], // prettier-ignore
  concat: [(x) => tf.concat([x, tf.square(x)], -1), -2, 2],
  stack: [(x) => tf.stack([x, tf.square(x)], -1), -2, 2],
  split: [(x) => tf.mul(...(tf.split(x, [1, 2])as [T, T])), -2, 2], // prettier-ignore
  unstack: [(x) => tf.mul(...(tf.unstack(x).slice(1) as [T, T])), -2, 2],
  tile: [(x) => tf.tile(x, [2, 3]), -2, 2],
  gather: [(x) => tf.gather(x, indices([2, 0, 2])), -2, 2],
};

/** Functions with kinks or steps, at places beside those. */
const KINKED: Readonly<Record<string, Unary>> = {
  abs: tf.abs,
  ceil: tf.ceil,
  clipByValue: (x) => tf.clipByValue(x, -1, 1),
  elu: tf.elu,
  floor: tf.floor,
  leakyRelu: (x) => tf.leakyRelu(x, 0.2),
  relu: tf.relu,
  relu6: (x) => tf.relu6(tf.mul(x, 4)),
  round: tf.round,
  selu: tf.selu,
  sign: tf.sign,
  step: (x) => tf.step(x, 0.3),
};

const BINARY: Readonly<Record<string, (a: T, b: T) => T>> = {
  add: tf.add,
  sub: tf.sub,
  mul: tf.mul,
  div: tf.div,
  divNoNan: tf.divNoNan,
  maximum: tf.maximum,
  minimum: tf.minimum,
  squaredDifference: tf.squaredDifference,
  pow: tf.pow,
  mod: tf.mod,
  atan2: tf.atan2,
  floorDiv: tf.floorDiv,
  prelu: (a, b) => tf.prelu(tf.sub(a, 3), b),
  matMul: (a, b) => tf.matMul(a, b, false, true),
  dot: (a, b) => tf.dot(a, tf.transpose(b)),
  where: (a, b) => tf.where(tf.greater(a, 2), a, b),
};

/** A case on `size` values that differ by a quarter, so that no two compete within a step. */
function spaced(name: string, op: Unary, size: number): GradientCase {
  const data = Float32Array.from({ length: size }, (_, i) => ((i * 7) % 23) / 4);
  return { name, op: op as GradientCase["op"], inputs: [float32(data, [size])] };
}

/** Windows and blocks: images, and convolutions over a sequence. */
const WINDOWS: readonly GradientCase[] = [
  at("conv1d", (x: tf.Tensor3D, w: tf.Tensor3D) => tf.conv1d(x, w, 2, "same"), [[1, 5, 2], [3, 2, 2]]), // prettier-ignore
  at("conv2d", (x: tf.Tensor4D, w: tf.Tensor4D) => tf.conv2d(x, w, 1, "same"), [[1, 3, 3, 2], [2, 2, 2, 1]]), // prettier-ignore
  at("conv2dTranspose", (x: tf.Tensor4D, w: tf.Tensor4D) => tf.conv2dTranspose(x, w, [1, 4, 4, 1], 2, "same"), [[1, 2, 2, 2], [2, 2, 1, 2]]), // prettier-ignore
  at("depthwiseConv2d", (x: tf.Tensor4D, w: tf.Tensor4D) => tf.depthwiseConv2d(x, w, 1, "same"), [[1, 3, 3, 2], [2, 2, 2, 1]]), // prettier-ignore
  at("conv3d", (x: tf.Tensor5D, w: tf.Tensor5D) => tf.conv3d(x, w, 1, "same"), [[1, 2, 2, 2, 1], [2, 2, 2, 1, 1]]), // prettier-ignore
  at("dilation2d", (x: tf.Tensor4D, w: tf.Tensor3D) => tf.dilation2d(x, w, 1, "same"), [[1, 3, 3, 2], [2, 2, 2]]), // prettier-ignore
  spaced("maxPool", (x) => tf.maxPool(tf.reshape(x, [1, 3, 3, 1]) as tf.Tensor4D, 2, 1, "same"), 9),
  spaced("maxPool3d", (x) => tf.maxPool3d(tf.reshape(x, [1, 3, 2, 2, 1]) as tf.Tensor5D, 2, 1, "same"), 12),
  at("localResponseNormalization", (x: tf.Tensor4D) => tf.localResponseNormalization(x, 1, 1, 1, 0.5), [[1, 2, 2, 4]]),
  at("spaceToBatchND", (x: T) => tf.spaceToBatchND(x, [2, 2], [[0, 0], [0, 0]]), [[1, 2, 4, 2]]), // prettier-ignore
  at("batchToSpaceND", (x: T) => tf.batchToSpaceND(x, [2, 2], [[0, 0], [1, 0]]), [[4, 1, 2, 2]]), // prettier-ignore
  at("resizeBilinear", (x: tf.Tensor4D) => tf.image.resizeBilinear(x, [3, 3]), [[1, 2, 2, 1]]),
  at("resizeNearestNeighbor", (x: tf.Tensor4D) => tf.image.resizeNearestNeighbor(x, [3, 3]), [[1, 2, 2, 1]]),
];

const AUDITED: readonly GradientCase[] = [
  ...Object.entries(SMOOTH).map(([name, [op, from, to]]) => at(name, op, [[3, 3]], [from, to])),
  ...Object.entries(KINKED).map(([name, op]) => ({
    name,
    op: op as GradientCase["op"],
    inputs: [float32([-1.7, -0.6, 0.4, 1.2, 1.8], [5])],
  })),
  ...Object.entries(BINARY).map(([name, op]) => ({
    name,
    op: op as GradientCase["op"],
    inputs: [float32([0.7, 1.6, 2.3, 1.4], [2, 2]), float32([0.5, 2.2, 1.8, 0.9], [2, 2])],
  })),
  ...WINDOWS,
];

/** Kernels with a gradient that nothing checks: no operation runs them, or their tensors are complex. */
const UNCHECKED = new Set(["BroadcastTo", "ComplexAbs", "LogSoftmax"]);

describe("all gradients in force", () => {
  it.each(AUDITED)("$name equals the differences", (row) => checkDifferences(row));

  it("are checked here or among the registered ones", async () => {
    const run = new Set<string>();
    for (const { op, inputs } of [...AUDITED, ...REGISTERED, ...BRANCHES]) {
      const { kernelNames } = await tf.profile(() => tf.tidy(() => op(...inputs.map(tensorOf))));
      for (const name of kernelNames) run.add(name);
    }
    const kernels = Object.values(tf).filter((value) => typeof value === "string");
    const withGradient = kernels.filter((name) => tf.getGradient(name) !== undefined);
    expect(withGradient.length).toBeGreaterThan(100);
    expect(withGradient.filter((name) => !run.has(name) && !UNCHECKED.has(name))).toEqual([]);
  });
});
