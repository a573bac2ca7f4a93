import type { DType } from "@peftjs/core";
import type { KernelDefinition, LoweringCall } from "./definition.ts";
import type { Accepts } from "./types.ts";
import { computed } from "./types.ts";

interface UnarySpec {
  /** ONNX operator of the same meaning, or a function that writes several nodes. */
  readonly to: string | ((context: LoweringCall, x: string) => string);
  /** Type of the result; the operand's own if not given. */
  readonly dtype?: DType;
  /** Most operators compute floats only. */
  readonly accepts?: Accepts;
}

function unary(name: string, { to, dtype, accepts = "floats" }: UnarySpec): KernelDefinition {
  return {
    name,
    infer: (call) => [{ shape: call.inputs[0]?.shape ?? [], dtype: dtype ?? call.inputs[0]?.dtype ?? "float32" }],
    lower: (context) => {
      const { emit, args, call } = context;
      const from = call.inputs[0]?.dtype ?? "float32";
      // What tests a number writes bool itself.
      const writes = dtype === "bool" ? "bool" : undefined;
      const write = ([x]: readonly string[]): string =>
        typeof to === "string" ? emit.op(to, [x as string]) : to(context, x as string);
      return [computed(emit, { from, to: dtype, accepts }, args, write, writes)];
    },
  };
}

const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

/** tfjs's names and ONNX's are the same for these. */
const SAME_NAME = [
  "Acos",
  "Acosh",
  "Asin",
  "Asinh",
  "Atan",
  "Atanh",
  "Ceil",
  "Cos",
  "Cosh",
  "Elu",
  "Erf",
  "Floor",
  "Log",
  "Reciprocal",
  "Sigmoid",
  "Sin",
  "Sinh",
  "Softplus",
  "Sqrt",
  "Tan",
  "Tanh",
];

export const UNARY: readonly KernelDefinition[] = [
  ...SAME_NAME.map((name) => unary(name, { to: name })),
  ...["Abs", "Neg", "Relu"].map((name) => unary(name, { to: name, accepts: "numbers" })),
  unary("Identity", { to: "Identity", accepts: "all" }),
  unary("Exp", { to: "Exp", dtype: "float32" }),
  unary("Square", { to: ({ emit }, x) => emit.op("Mul", [x, x]), accepts: "numbers" }),
  unary("Rsqrt", { to: ({ emit }, x) => emit.op("Reciprocal", [emit.op("Sqrt", [x])]) }),
  unary("Expm1", { to: expm1 }),
  unary("Log1p", { to: log1p }),
  unary("Relu6", { to: ({ emit }, x) => emit.op("Clip", [x, emit.scalar(0), emit.scalar(6)]) }),
  unary("Selu", {
    to: ({ emit }, x) => emit.op("Selu", [x], { attributes: { alpha: SELU_ALPHA, gamma: SELU_SCALE } }),
  }),
  // Whole numbers are round already, and large ones would lose digits on a way through float32.
  unary("Round", {
    to: ({ emit, call }, x) => emit.op(call.inputs[0]?.dtype === "float32" ? "Round" : "Identity", [x]),
    accepts: "all",
  }),
  // The sign of NaN is 0 in tfjs.
  unary("Sign", {
    to: ({ emit, call }, x) => {
      const sign = emit.op("Sign", [x]);
      if (call.inputs[0]?.dtype !== "float32") return sign;
      return emit.op("Where", [emit.op("IsNaN", [x]), emit.scalar(0), sign]);
    },
    accepts: "numbers",
  }),
  unary("IsNan", { to: "IsNaN", dtype: "bool" }),
  unary("IsInf", { to: "IsInf", dtype: "bool" }),
  unary("IsFinite", {
    to: ({ emit }, x) => emit.op("Not", [emit.op("Or", [emit.op("IsNaN", [x]), emit.op("IsInf", [x])])]),
    dtype: "bool",
  }),
  unary("LogicalNot", { to: "Not", accepts: "all" }),
  ...[
    { name: "ZerosLike", value: 0 },
    { name: "OnesLike", value: 1 },
  ].map(({ name, value }) =>
    unary(name, {
      to: ({ emit, outputs: [like] }) =>
        emit.op("Expand", [emit.scalar(value, like?.dtype), emit.ints(like?.shape ?? [])]),
      accepts: "all",
    }),
  ),
  unary("LeakyRelu", {
    to: ({ emit, call }, x) => emit.op("LeakyRelu", [x], { attributes: { alpha: call.number("alpha") } }),
    dtype: "float32",
  }),
  unary("ClipByValue", {
    to: ({ emit, call }, x) =>
      call.inputs[0]?.dtype === "float32"
        ? emit.op("Clip", [x, emit.scalar(call.number("clipValueMin")), emit.scalar(call.number("clipValueMax"))])
        : emit.op("Clip", [
            x,
            emit.scalar(nearestInt(call.number("clipValueMin")), "int32"),
            emit.scalar(nearestInt(call.number("clipValueMax")), "int32"),
          ]),
    accepts: "numbers",
  }),
  // Step is 1 above zero, `alpha` below and at it; NaN stays NaN, as in tfjs.
  unary("Step", {
    to: ({ emit, call }, x) => {
      const positive = emit.op("Where", [
        emit.op("Greater", [x, emit.scalar(0)]),
        emit.scalar(1),
        emit.scalar(call.number("alpha")),
      ]);
      return emit.op("Where", [emit.op("IsNaN", [x]), x, positive]);
    },
  }),
];

function nearestInt(value: number): number {
  return Math.trunc(Math.min(Math.max(value, -(2 ** 31)), 2 ** 31 - 1));
}

/** e^x − 1 = tanh(x/2)·(e^x + 1), which has no cancellation near 0. */
function expm1({ emit }: LoweringCall, x: string): string {
  const half = emit.op("Tanh", [emit.op("Mul", [x, emit.scalar(0.5)])]);
  return emit.op("Mul", [half, emit.op("Add", [emit.op("Exp", [x]), emit.scalar(1)])]);
}

/**
 * With u = 1 + x as rounded: log(1 + x) ≈ log(u) + (x − (u − 1))/u. The correction is what rounding took from x; it matters near 0
 * only, and is not defined at −1 and ∞.
 */
function log1p({ emit }: LoweringCall, x: string): string {
  const one = emit.scalar(1);
  const u = emit.op("Add", [x, one]);
  const log = emit.op("Log", [u]);
  const lost = emit.op("Sub", [x, emit.op("Sub", [u, one])]);
  const corrected = emit.op("Add", [log, emit.op("Div", [lost, u])]);
  return emit.op("Where", [emit.op("Less", [emit.op("Abs", [x]), emit.scalar(0.5)]), corrected, log]);
}
