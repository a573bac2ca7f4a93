import type { DType } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import * as any from "../arbitrary.ts";
import type { KernelCase } from "../describeKernels.ts";

const NUMBERS: readonly DType[] = ["float32", "int32"];
const ALL: readonly DType[] = ["float32", "int32", "bool"];

interface Reduction {
  readonly op: (x: tf.Tensor, axes: number[] | undefined, keepDims: boolean) => tf.Tensor;
  readonly dtypes: readonly DType[];
  readonly gradient?: { readonly from: number; readonly to: number };
}

const REDUCTIONS: Readonly<Record<string, Reduction>> = {
  All: { op: tf.all, dtypes: ["bool"] },
  Any: { op: tf.any, dtypes: ["bool"] },
  Max: { op: tf.max, dtypes: NUMBERS, gradient: { from: -2, to: 2 } },
  Mean: { op: tf.mean, dtypes: ALL, gradient: { from: -2, to: 2 } },
  Min: { op: tf.min, dtypes: NUMBERS, gradient: { from: -2, to: 2 } },
  Prod: { op: tf.prod, dtypes: ALL, gradient: { from: 0.5, to: 1.5 } },
  Sum: { op: tf.sum, dtypes: ALL, gradient: { from: -2, to: 2 } },
};

const reductionCase = ([kernel, { op, ...rest }]: readonly [string, Reduction]): KernelCase => ({
  kernel,
  ...rest,
  sample: ({ dtype, domain }) =>
    any
      .shape()
      .chain((shape) => fc.tuple(any.tensor(shape, dtype, any.summable(domain)), any.axes(shape.length), fc.boolean()))
      .map(([x, axes, keepDims]) => ({
        inputs: { x },
        op: ({ x: value }) => op(value as tf.Tensor, axes, keepDims),
        facts: { axes },
      })),
});

/** Kernels along one axis of a tensor that has one. */
const alongAxis = (
  op: (x: tf.Tensor, axis: number, flags: readonly [boolean, boolean]) => tf.Tensor,
): KernelCase["sample"] => {
  return ({ dtype, domain }) =>
    any
      .shape({ min: 1 })
      .chain((shape) =>
        fc.tuple(
          any.tensor(shape, dtype, any.summable(domain)),
          any.axis(shape.length),
          fc.tuple(fc.boolean(), fc.boolean()),
        ),
      )
      .map(([x, axis, flags]) => ({
        inputs: { x },
        op: ({ x: value }) => op(value as tf.Tensor, axis, flags),
        facts: { axes: [axis] },
      }));
};

const lastAxis =
  (op: (x: tf.Tensor) => tf.Tensor): KernelCase["sample"] =>
  ({ domain }) =>
    any
      .shape({ min: 1 })
      .chain((shape) => any.tensor(shape, "float32", domain))
      .map((x) => ({ inputs: { x }, op: ({ x: value }) => op(value as tf.Tensor) }));

const ALONG: readonly KernelCase[] = [
  { kernel: "ArgMax", dtypes: ALL, gradient: { from: -2, to: 2 }, sample: alongAxis((x, axis) => tf.argMax(x, axis)) },
  { kernel: "ArgMin", dtypes: ALL, gradient: { from: -2, to: 2 }, sample: alongAxis((x, axis) => tf.argMin(x, axis)) },
  {
    kernel: "Cumsum",
    dtypes: ALL,
    gradient: { from: -2, to: 2 },
    sample: alongAxis((x, axis, [exclusive, reverse]) => tf.cumsum(x, axis, exclusive, reverse)),
  },
  {
    kernel: "Cumprod",
    dtypes: ALL,
    gradient: { from: 0.5, to: 1.5 },
    sample: alongAxis((x, axis, [exclusive, reverse]) => tf.cumprod(x, axis, exclusive, reverse)),
  },
  { kernel: "Softmax", gradient: { from: -2, to: 2 }, sample: lastAxis((x) => tf.softmax(x)) },
  { kernel: "Max", label: "of logSoftmax", gradient: { from: -2, to: 2 }, sample: lastAxis((x) => tf.logSoftmax(x)) },
];

export const REDUCTION_CASES: readonly KernelCase[] = [...Object.entries(REDUCTIONS).map(reductionCase), ...ALONG];
