import type { DType } from "@peftjs/core";
import type { KernelDefinition, LoweringCall } from "./definition.ts";
import { broadcastShapes } from "./shapes.ts";

interface UnarySpec {
  /** ONNX operator of the same meaning, or a function that writes several nodes. */
  readonly to: string | ((context: LoweringCall, x: string) => string);
  readonly dtype?: DType;
}

function unary(name: string, spec: UnarySpec): KernelDefinition {
  return {
    name,
    infer: ({ inputs: [x] }) => [{ shape: x?.shape ?? [], dtype: spec.dtype ?? x?.dtype ?? "float32" }],
    lower: (context) => {
      const x = context.args[0] as string;
      return [typeof spec.to === "string" ? context.emit.op(spec.to, [x]) : spec.to(context, x)];
    },
  };
}

function binary(name: string, to: string, dtype?: DType): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const [a, b] = [call.input("a"), call.input("b")];
      return [{ shape: broadcastShapes(a.shape, b.shape), dtype: dtype ?? a.dtype }];
    },
    lower: ({ args, emit }) => [emit.op(to, args)],
  };
}

const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

const UNARY: readonly KernelDefinition[] = [
  ...[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Cos",
    "Cosh",
    "Erf",
    "Exp",
    "Floor",
    "Identity",
    "Log",
    "Neg",
  ].map((name) => unary(name, { to: name })),
  ...["Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Sqrt", "Tan", "Tanh"].map((name) =>
    unary(name, { to: name }),
  ),
  unary("Square", { to: ({ emit }, x) => emit.op("Mul", [x, x]) }),
  unary("Rsqrt", { to: ({ emit }, x) => emit.op("Reciprocal", [emit.op("Sqrt", [x])]) }),
  unary("Expm1", { to: ({ emit }, x) => emit.op("Sub", [emit.op("Exp", [x]), emit.scalar(1)]) }),
  unary("Log1p", { to: ({ emit }, x) => emit.op("Log", [emit.op("Add", [x, emit.scalar(1)])]) }),
  unary("Relu6", { to: ({ emit }, x) => emit.op("Clip", [x, emit.scalar(0), emit.scalar(6)]) }),
  unary("Elu", { to: "Elu" }),
  unary("Selu", {
    to: ({ emit }, x) => emit.op("Selu", [x], { attributes: { alpha: SELU_ALPHA, gamma: SELU_SCALE } }),
  }),
  unary("IsNan", { to: "IsNaN", dtype: "bool" }),
  unary("IsInf", { to: "IsInf", dtype: "bool" }),
  unary("IsFinite", {
    to: ({ emit }, x) => emit.op("Not", [emit.op("Or", [emit.op("IsNaN", [x]), emit.op("IsInf", [x])])]),
    dtype: "bool",
  }),
  unary("LogicalNot", { to: "Not" }),
  unary("ZerosLike", {
    to: ({ emit, outputs }) =>
      emit.op("Expand", [emit.scalar(0, outputs[0]?.dtype), emit.ints(outputs[0]?.shape ?? [])]),
  }),
  unary("OnesLike", {
    to: ({ emit, outputs }) =>
      emit.op("Expand", [emit.scalar(1, outputs[0]?.dtype), emit.ints(outputs[0]?.shape ?? [])]),
  }),
  unary("LeakyRelu", {
    to: ({ emit, call }, x) => emit.op("LeakyRelu", [x], { attributes: { alpha: call.number("alpha") } }),
  }),
  unary("ClipByValue", {
    to: ({ emit, call, outputs }, x) =>
      emit.op("Clip", [
        x,
        emit.scalar(call.number("clipValueMin"), outputs[0]?.dtype),
        emit.scalar(call.number("clipValueMax"), outputs[0]?.dtype),
      ]),
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

const BINARY: readonly KernelDefinition[] = [
  binary("Add", "Add"),
  binary("Sub", "Sub"),
  binary("Multiply", "Mul"),
  binary("RealDiv", "Div"),
  binary("Maximum", "Max"),
  binary("Minimum", "Min"),
  binary("Pow", "Pow"),
  binary("Equal", "Equal", "bool"),
  binary("Greater", "Greater", "bool"),
  binary("GreaterEqual", "GreaterOrEqual", "bool"),
  binary("Less", "Less", "bool"),
  binary("LessEqual", "LessOrEqual", "bool"),
  binary("LogicalAnd", "And", "bool"),
  binary("LogicalOr", "Or", "bool"),
  binary("LogicalXor", "Xor", "bool"),
  {
    ...binary("NotEqual", "Equal", "bool"),
    lower: ({ args, emit }) => [emit.op("Not", [emit.op("Equal", args)])],
  },
  {
    ...binary("SquaredDifference", "Sub"),
    lower: ({ args, emit }) => {
      const difference = emit.op("Sub", args);
      return [emit.op("Mul", [difference, difference])];
    },
  },
  {
    // tfjs's result is int32 whatever the operands are.
    ...binary("FloorDiv", "Div", "int32"),
    lower: ({ call, args, emit }) => {
      const isFloat = call.input("a").dtype === "float32";
      const quotient = emit.op("Div", isFloat ? args : args.map((arg) => emit.cast(arg, "float32")));
      return [emit.cast(emit.op("Floor", [quotient]), "int32")];
    },
  },
  {
    // tfjs's Mod has the sign of the divisor: a − b·⌊a/b⌋.
    ...binary("Mod", "Mod"),
    lower: ({ call, args, emit }) => {
      const [a, b] = args as [string, string];
      if (call.input("a").dtype !== "float32") return [emit.op("Mod", [a, b])];
      return [emit.op("Sub", [a, emit.op("Mul", [b, emit.op("Floor", [emit.op("Div", [a, b])])])])];
    },
  },
  {
    name: "Prelu",
    infer: (call) => [
      { shape: broadcastShapes(call.input("x").shape, call.input("alpha").shape), dtype: call.input("x").dtype },
    ],
    lower: ({ args, emit }) => [emit.op("PRelu", args)],
  },
  {
    name: "EluGrad",
    infer: (call) => [call.input("y")],
    lower: ({ args, emit }) => {
      const [dy, y] = args as [string, string];
      const below = emit.op("Mul", [dy, emit.op("Add", [y, emit.scalar(1)])]);
      return [emit.op("Where", [emit.op("GreaterOrEqual", [y, emit.scalar(0)]), dy, below])];
    },
  },
];

const OTHER: readonly KernelDefinition[] = [
  {
    name: "AddN",
    infer: ({ inputs: [first] }) => [first ?? { shape: [], dtype: "float32" }],
    lower: ({ args, emit }) => [args.slice(1).reduce((total, arg) => emit.op("Add", [total, arg]), args[0] as string)],
  },
  {
    name: "Select",
    infer: (call) => [
      {
        shape: broadcastShapes(
          broadcastShapes(call.input("condition").shape, call.input("t").shape),
          call.input("e").shape,
        ),
        dtype: call.input("t").dtype,
      },
    ],
    lower: ({ call, args, emit }) => {
      if (call.input("t").dtype !== "bool") return [emit.op("Where", args)];
      const [condition, t, e] = args as [string, string, string];
      return [emit.cast(emit.op("Where", [condition, emit.cast(t, "uint8"), emit.cast(e, "uint8")]), "bool")];
    },
  },
  {
    name: "Cast",
    infer: (call) => [{ shape: call.input("x").shape, dtype: call.text("dtype") as DType }],
    lower: ({ call, args, emit }) => [emit.cast(args[0] as string, call.text("dtype") as DType)],
  },
];

export const ELEMENTWISE = [...UNARY, ...BINARY, ...OTHER];

/** Kernels whose result has the broadcast shape of `a` and `b`. */
export const BINARY_NAMES: ReadonlySet<string> = new Set(
  BINARY.filter(({ name }) => name !== "Prelu" && name !== "EluGrad").map(({ name }) => name),
);
