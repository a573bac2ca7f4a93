import type { DType } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import * as any from "../arbitrary.ts";
import type { KernelCase } from "../describeKernels.ts";

const NUMBERS: readonly DType[] = ["float32", "int32"];
const ALL: readonly DType[] = ["float32", "int32", "bool"];

interface Unary {
  readonly op: (x: tf.Tensor) => tf.Tensor;
  readonly dtypes?: readonly DType[];
  readonly gradient?: readonly [from: number, to: number];
  readonly label?: string;
  readonly facts?: Readonly<Record<string, unknown>>;
}

const UNARY: readonly (readonly [kernel: string, unary: Unary])[] = [
  ["Abs", { op: tf.abs, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Acos", { op: tf.acos, gradient: [-0.9, 0.9] }],
  ["Acosh", { op: tf.acosh, gradient: [1.1, 3] }],
  ["Asin", { op: tf.asin, gradient: [-0.9, 0.9] }],
  ["Asinh", { op: tf.asinh, gradient: [-2, 2] }],
  ["Atan", { op: tf.atan, gradient: [-2, 2] }],
  ["Atanh", { op: tf.atanh, gradient: [-0.9, 0.9] }],
  ["Cast", { op: (x) => tf.cast(x, "float32"), dtypes: ["int32", "bool"], label: "to float32" }],
  [
    "Cast",
    {
      op: (x) => tf.cast(x, "int32"),
      dtypes: ["float32", "bool"],
      label: "to int32",
      gradient: [-2, 2],
      facts: { to: "int32" },
    },
  ],
  ["Cast", { op: (x) => tf.cast(x, "bool"), dtypes: NUMBERS, label: "to bool", gradient: [-2, 2] }],
  ["Ceil", { op: tf.ceil, gradient: [-2, 2] }],
  ["ClipByValue", { op: (x) => tf.clipByValue(x, -0.5, 1.5), dtypes: NUMBERS, gradient: [-2, 2] }],
  ["ClipByValue", { op: (x) => tf.clipByValue(x, 0, Infinity), dtypes: NUMBERS, label: "below" }],
  ["Cos", { op: tf.cos, gradient: [-2, 2] }],
  ["Cosh", { op: tf.cosh, gradient: [-2, 2] }],
  ["Elu", { op: tf.elu, gradient: [-2, 2] }],
  ["Erf", { op: tf.erf, gradient: [-2, 2] }],
  ["Exp", { op: tf.exp, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Expm1", { op: tf.expm1, gradient: [-2, 2] }],
  ["Floor", { op: tf.floor, gradient: [-2, 2] }],
  ["Identity", { op: tf.clone, dtypes: ALL, gradient: [-2, 2] }],
  ["IsFinite", { op: tf.isFinite, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["IsInf", { op: tf.isInf, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["IsNan", { op: tf.isNaN, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["LeakyRelu", { op: (x) => tf.leakyRelu(x, 0.3), dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Log", { op: tf.log, gradient: [0.1, 3] }],
  ["Log1p", { op: tf.log1p, gradient: [-0.9, 3] }],
  ["LogicalNot", { op: tf.logicalNot, dtypes: ["bool"] }],
  ["Neg", { op: tf.neg, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["OnesLike", { op: tf.onesLike, dtypes: ALL, gradient: [-2, 2] }],
  ["Reciprocal", { op: tf.reciprocal, gradient: [0.3, 3] }],
  ["Relu", { op: tf.relu, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Relu6", { op: tf.relu6, dtypes: NUMBERS, gradient: [-2, 9] }],
  ["Round", { op: tf.round, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Rsqrt", { op: tf.rsqrt, gradient: [0.1, 3] }],
  ["Selu", { op: tf.selu, gradient: [-2, 2] }],
  ["Sigmoid", { op: tf.sigmoid, gradient: [-2, 2] }],
  ["Sign", { op: tf.sign, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Sin", { op: tf.sin, gradient: [-2, 2] }],
  ["Sinh", { op: tf.sinh, gradient: [-2, 2] }],
  ["Softplus", { op: tf.softplus, gradient: [-2, 2] }],
  ["Sqrt", { op: tf.sqrt, gradient: [0.1, 3] }],
  ["Square", { op: tf.square, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Step", { op: (x) => tf.step(x, 0.25), gradient: [-2, 2] }],
  ["Tan", { op: tf.tan, gradient: [-1, 1] }],
  ["Tanh", { op: tf.tanh, gradient: [-2, 2] }],
  ["ZerosLike", { op: tf.zerosLike, dtypes: ALL, gradient: [-2, 2] }],
];

function unaryCase([kernel, { op, gradient, facts = {}, ...rest }]: readonly [string, Unary]): KernelCase {
  return {
    kernel,
    ...rest,
    ...(gradient === undefined ? {} : { gradient: { from: gradient[0], to: gradient[1] } }),
    sample: ({ dtype, domain }) =>
      any
        .shape()
        .chain((shape) => any.tensor(shape, dtype, domain))
        .map((x) => ({ inputs: { x }, op: ({ x: value }) => op(value as tf.Tensor), facts })),
  };
}

interface Binary {
  readonly op: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;
  readonly dtypes?: readonly DType[];
  readonly gradient?: readonly [from: number, to: number];
  /** tfjs takes operands of one shape only. */
  readonly sameShape?: true;
}

const BINARY: readonly (readonly [kernel: string, binary: Binary])[] = [
  ["Add", { op: tf.add, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Atan2", { op: tf.atan2, gradient: [-2, 2] }],
  ["BitwiseAnd", { op: tf.bitwiseAnd, dtypes: ["int32"], sameShape: true }],
  ["Equal", { op: tf.equal, dtypes: ALL, gradient: [-2, 2] }],
  ["FloorDiv", { op: tf.floorDiv, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Greater", { op: tf.greater, dtypes: ALL, gradient: [-2, 2] }],
  ["GreaterEqual", { op: tf.greaterEqual, dtypes: ALL, gradient: [-2, 2] }],
  ["Less", { op: tf.less, dtypes: ALL, gradient: [-2, 2] }],
  ["LessEqual", { op: tf.lessEqual, dtypes: ALL, gradient: [-2, 2] }],
  ["LogicalAnd", { op: tf.logicalAnd, dtypes: ["bool"] }],
  ["LogicalOr", { op: tf.logicalOr, dtypes: ["bool"] }],
  ["Maximum", { op: tf.maximum, dtypes: ALL, gradient: [-2, 2] }],
  ["Minimum", { op: tf.minimum, dtypes: ALL, gradient: [-2, 2] }],
  ["Mod", { op: tf.mod, dtypes: NUMBERS, gradient: [0.5, 2] }],
  ["Multiply", { op: tf.mul, dtypes: ALL, gradient: [-2, 2] }],
  ["NotEqual", { op: tf.notEqual, dtypes: ALL, gradient: [-2, 2] }],
  ["Pow", { op: tf.pow, dtypes: NUMBERS, gradient: [0.2, 2] }],
  ["RealDiv", { op: tf.div, gradient: [0.3, 2] }],
  ["SquaredDifference", { op: tf.squaredDifference, dtypes: NUMBERS, gradient: [-2, 2] }],
  ["Sub", { op: tf.sub, dtypes: NUMBERS, gradient: [-2, 2] }],
];

function binaryCase([kernel, { op, gradient, sameShape, ...rest }]: readonly [string, Binary]): KernelCase {
  return {
    kernel,
    ...rest,
    ...(gradient === undefined ? {} : { gradient: { from: gradient[0], to: gradient[1] } }),
    sample: ({ dtype, domain }) =>
      (sameShape === true ? any.shape().map((both) => [both, both] as const) : any.broadcastable())
        .chain(([a, b]) => fc.tuple(any.tensor(a, dtype, domain), any.tensor(b, dtype, domain)))
        .map(([a, b]) => ({
          inputs: { a, b },
          op: ({ a: left, b: right }) => op(left as tf.Tensor, right as tf.Tensor),
        })),
  };
}

const OTHER: readonly KernelCase[] = [
  {
    kernel: "AddN",
    dtypes: NUMBERS,
    gradient: { from: -2, to: 2 },
    sample: ({ dtype, domain }) =>
      any
        .shape()
        .chain((shape) => fc.array(any.tensor(shape, dtype, domain), { minLength: 1, maxLength: 4 }))
        .map((terms) => ({ inputs: { ...terms } as never, op: (named) => tf.addN(Object.values(named)) })),
  },
  {
    kernel: "EluGrad",
    sample: ({ domain }) =>
      any
        .shape()
        .chain((shape) => any.tensor(shape, "float32", domain))
        .map((x) => ({ inputs: { x }, op: ({ x: value }) => tf.grad(tf.elu)(value as tf.Tensor) })),
  },
  {
    kernel: "Prelu",
    dtypes: NUMBERS,
    gradient: { from: -2, to: 2 },
    sample: ({ dtype, domain }) =>
      any
        .broadcastable()
        .chain(([x, alpha]) => fc.tuple(any.tensor(x, dtype, domain), any.tensor(alpha, dtype, domain)))
        .map(([x, alpha]) => ({
          inputs: { x, alpha },
          op: ({ x: value, alpha: slope }) => tf.prelu(value as tf.Tensor, slope as tf.Tensor),
        })),
  },
  {
    kernel: "Select",
    dtypes: ALL,
    gradient: { from: -2, to: 2 },
    sample: ({ dtype, domain }) =>
      any
        .broadcastable()
        .chain(([a, b]) => fc.tuple(any.tensor(a, dtype, domain), any.tensor(b, dtype, domain), any.tensor(b, "bool")))
        .map(([a, b, condition]) => ({
          inputs: { a, b },
          op: ({ a: left, b: right }) =>
            tf.where(tf.tensor(condition.data, [...condition.shape], "bool"), left as tf.Tensor, right as tf.Tensor),
        })),
  },
];

export const ELEMENTWISE_CASES: readonly KernelCase[] = [...UNARY.map(unaryCase), ...BINARY.map(binaryCase), ...OTHER];
