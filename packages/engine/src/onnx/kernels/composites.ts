import type { DType } from "@peftjs/core";
import { dropThreshold } from "@peftjs/core/internal";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelDefinition } from "./definition.ts";

const INVERSE_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

/** Kernels of core's own operations (core/src/ops): each has one fast form here. */
export const COMPOSITES: readonly KernelDefinition[] = [
  {
    name: "PeftGelu",
    infer: (call) => [call.input("x")],
    lower: ({ args, emit }) => [emit.contrib("Gelu", args)],
  },
  {
    name: "PeftGeluGrad",
    infer: (call) => [call.input("x")],
    lower: ({ args, emit }) => [geluGrad(emit, args[0] as string, args[1] as string)],
  },
  {
    name: "PeftGeluTanh",
    infer: (call) => [call.input("x")],
    lower: ({ args, emit }) => [emit.contrib("FastGelu", args)],
  },
  {
    name: "PeftGeluTanhGrad",
    infer: (call) => [call.input("x")],
    lower: ({ args, emit }) => [geluTanhGrad(emit, args[0] as string, args[1] as string)],
  },
  {
    name: "PeftSilu",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => [emit.contrib("QuickGelu", args, { alpha: call.number("beta") })],
  },
  {
    name: "PeftSiluGrad",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const [dy, x] = args as [string, string];
      const t = emit.op("Mul", [x, after(emit, emit.scalar(call.number("beta")), dy)]);
      return [sigmoidGrad(emit, dy, { s: emit.op("Sigmoid", [t]), t })];
    },
  },
  {
    name: "PeftLayerNorm",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => [
      emit.op("LayerNormalization", args, { attributes: { axis: -1n, epsilon: call.number("epsilon") } }),
    ],
  },
  {
    name: "PeftNormalize",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const width = call.input("x").shape.at(-1) ?? 1;
      return [normalize(emit, args[0] as string, { width, epsilon: call.number("epsilon"), one: emit.scalar(1) })[0]];
    },
  },
  {
    // ∂x = (g − mean(g) − x̂·mean(g·x̂))/σ with g = ∂y·γ.
    name: "PeftLayerNormGrad",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const [dy, x, gamma] = args as [string, string, string];
      const [normalized, inverseDeviation] = normalize(emit, x, {
        width: call.input("x").shape.at(-1) ?? 1,
        epsilon: call.number("epsilon"),
        one: after(emit, emit.scalar(1), dy),
      });
      const mean = (value: string): string =>
        emit.op("ReduceMean", [value, emit.ints([-1])], { attributes: { keepdims: 1n } });
      const scaled = emit.op("Mul", [dy, gamma]);
      const centred = emit.op("Sub", [scaled, mean(scaled)]);
      const projected = emit.op("Mul", [normalized, mean(emit.op("Mul", [scaled, normalized]))]);
      return [emit.op("Mul", [emit.op("Sub", [centred, projected]), inverseDeviation])];
    },
  },
  {
    name: "PeftDropoutMask",
    infer: (call) => [{ shape: call.numbers("shape"), dtype: "bool" }],
    lower: ({ call, args, emit }) => [
      dropoutMask(emit, args[0] as string, {
        shape: call.numbers("shape"),
        rate: call.number("rate"),
        stream: call.number("stream"),
      }),
    ],
  },
  {
    // Both branches are x; which one is taken depends on the token's first element, so that no optimizer can know.
    name: "PeftAfter",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const [x, token] = args as [string, string];
      if (call.input("x").dtype !== "bool") return [after(emit, x, token, call.input("token").dtype)];
      // x or (x and anything)
      return [emit.op("Or", [x, emit.op("And", [x, decisionOf(emit, token, call.input("token").dtype)])])];
    },
  },
  {
    // Where it is not part of a branch: see branches.ts.
    name: "PeftGate",
    infer: (call) => [call.input("x")],
    lower: ({ call, args: [x, open], emit }) => {
      const { dtype } = call.input("x");
      const isOpen = emit.cast(open as string, "bool");
      if (dtype === "bool") return [emit.op("And", [isOpen, x as string])];
      return [emit.op("Where", [isOpen, x as string, emit.scalar(0, dtype)])];
    },
  },
  {
    name: "PeftCrossEntropy",
    infer: (call) => [{ shape: call.input("labels").shape, dtype: "float32" }],
    lower: ({ call, args, emit }) => {
      const [logits, labels] = args as [string, string];
      const { inside, column } = labelColumn(emit, labels, call.input("logits").shape[1] ?? 0);
      const logs = emit.op("LogSoftmax", [logits], { attributes: { axis: -1n } });
      const picked = emit.op("GatherElements", [logs, column], { attributes: { axis: 1n } });
      const loss = emit.op("Neg", [emit.op("Squeeze", [picked, emit.ints([1])])]);
      return [emit.op("Where", [inside, loss, emit.scalar(0)])];
    },
  },
  {
    // (softmax(x) − onehot(label))·∂y
    name: "PeftCrossEntropyGrad",
    infer: (call) => [call.input("logits")],
    lower: ({ call, args, emit }) => {
      const [dy, logits, labels] = args as [string, string, string];
      const [rows, classes] = call.input("logits").shape as [number, number];
      const { inside, column } = labelColumn(emit, labels, classes);
      const p = emit.op("Exp", [emit.op("LogSoftmax", [logits], { attributes: { axis: -1n } })]);
      const minusOne = emit.op("Expand", [emit.scalar(-1), emit.ints([rows, 1])]);
      const difference = emit.op("ScatterElements", [p, column, minusOne], {
        attributes: { axis: 1n, reduction: "add" },
      });
      const factor = emit.op("Where", [inside, dy, emit.scalar(0)]);
      return [emit.op("Mul", [difference, emit.op("Unsqueeze", [factor, emit.ints([1])])])];
    },
  },
];

/** x, once the token is there. */
function after(emit: OnnxEmitter, x: string, token: string, dtype: DType = "float32"): string {
  return emit.op("Where", [decisionOf(emit, token, dtype), x, x]);
}

/** A boolean that depends on the token's first element. */
function decisionOf(emit: OnnxEmitter, token: string, dtype: DType): string {
  const first = emit.op("Gather", [emit.op("Reshape", [token, emit.ints([-1])]), emit.scalar(0, "int64")]);
  return dtype === "float32" ? emit.op("IsNaN", [first]) : emit.cast(first, "bool");
}

/** Which labels name a class, and those as int64 [n, 1]; the others are class 0 there. */
function labelColumn(emit: OnnxEmitter, labels: string, classes: number): { inside: string; column: string } {
  const inside = emit.op("And", [
    emit.op("GreaterOrEqual", [labels, emit.scalar(0, "int32")]),
    emit.op("Less", [labels, emit.scalar(classes, "int32")]),
  ]);
  const safe = emit.op("Where", [inside, labels, emit.scalar(0, "int32")]);
  return { inside, column: emit.op("Unsqueeze", [emit.cast(safe, "int64"), emit.ints([1])]) };
}

/** ∂y·(Φ(x) + x·φ(x)), Φ(x) = ½ + ½·erf(x/√2), φ(x) = e^(−x²/2)/√(2π). Two intermediate results of x's size are alive at a time. */
function geluGrad(emit: OnnxEmitter, dy: string, x: string): string {
  // What depends on x alone waits for ∂y: computed before, it would be kept for all layers at once.
  const scaled = emit.op("Mul", [x, after(emit, emit.scalar(Math.SQRT1_2), dy)]);
  const cdf = emit.op("Add", [emit.op("Mul", [emit.op("Erf", [scaled]), emit.scalar(0.5)]), emit.scalar(0.5)]);
  const exponent = emit.op("Mul", [emit.op("Mul", [x, after(emit, emit.scalar(-0.5), cdf)]), x]);
  const weighted = emit.op("Mul", [emit.op("Mul", [emit.op("Exp", [exponent]), x]), emit.scalar(INVERSE_SQRT_2PI)]);
  return emit.op("Mul", [emit.op("Add", [cdf, weighted]), dy]);
}

/** ∂y·s·(1 + (1 − s)·t), s = σ(x·(a + b·x²)), t = x·(a + 3b·x²), a = 2√(2/π), b = 0.044715·a. */
function geluTanhGrad(emit: OnnxEmitter, dy: string, x: string): string {
  const a = 2 * Math.sqrt(2 / Math.PI);
  const cubic = (square: string): string => emit.op("Mul", [x, emit.op("Add", [square, emit.scalar(a)])]);
  const square = emit.op("Mul", [emit.op("Mul", [x, after(emit, emit.scalar(0.044715 * a), dy)]), x]);
  const t = cubic(emit.op("Mul", [square, emit.scalar(3)]));
  return sigmoidGrad(emit, dy, { s: emit.op("Sigmoid", [cubic(square)]), t });
}

/** ∂y·s·(1 + (1 − s)·t): the gradient of x·s, where s is the sigmoid of something with derivative t/x. */
function sigmoidGrad(emit: OnnxEmitter, dy: string, { s, t }: { s: string; t: string }): string {
  const one = emit.scalar(1);
  const factor = emit.op("Add", [emit.op("Mul", [emit.op("Sub", [one, s]), t]), one]);
  return emit.op("Mul", [dy, emit.op("Mul", [s, factor])]);
}

interface Normalization {
  readonly width: number;
  readonly epsilon: number;
  /** The number 1, perhaps gated. */
  readonly one: string;
}

/** (x − μ)/√(σ² + ε) and 1/√(σ² + ε) over the last axis. */
function normalize(emit: OnnxEmitter, x: string, { width, epsilon, one }: Normalization): [string, string] {
  const row = (value: string): string => emit.op("Expand", [value, emit.ints([width])]);
  const [normalized, , inverse] = emit.multi("LayerNormalization", [x, row(one), row(emit.scalar(0))], {
    attributes: { axis: -1n, epsilon },
    outputs: 3,
  });
  return [normalized as string, inverse as string];
}

interface Mask {
  readonly shape: readonly number[];
  readonly rate: number;
  readonly stream: number;
}

/**
 * The mask of core/src/ops/dropout.ts in 32-bit integer arithmetic: a hash per row and one per column are mixed
 * thoroughly (few elements), and an element is one exclusive-or, one product and one comparison.
 */
function dropoutMask(emit: OnnxEmitter, key: string, { shape, rate, stream }: Mask): string {
  const columns = shape.at(-1) ?? 1;
  const rows = columns === 0 ? 0 : shape.slice(0, -1).reduce((product, dimension) => product * dimension, 1);
  const int = (value: number): string => emit.scalar(value, "int32");
  const part = (index: number): string => emit.op("Gather", [key, int(index)]);
  const xor = (a: string, b: string): string => emit.op("BitwiseXor", [a, b]);
  const base = mix32(emit, xor(mix32(emit, xor(mix32(emit, part(0)), part(1))), int(stream)));
  const counter = (length: number): string => emit.op("Range", [int(0), int(length), int(1)]);
  const rowKeys = mix32(emit, emit.op("Add", [base, counter(rows)]));
  const columnBase = mix32(emit, xor(base, int(0x5bd1e995)));
  const columnKeys = mix32(emit, emit.op("Add", [columnBase, counter(columns)]));
  const hash = xor(emit.op("Reshape", [rowKeys, emit.ints([rows, 1])]), columnKeys);
  const odd = emit.op("BitwiseOr", [hash, int(1)]);
  const kept = emit.op("GreaterOrEqual", [emit.op("Mul", [hash, odd]), int(dropThreshold(rate))]);
  return emit.op("Reshape", [kept, emit.ints(shape)], { attributes: { allowzero: 1n } });
}

/** MurmurHash3's finalizer. Shifts are of the unsigned value, so the operand is seen as uint32 for them. */
function mix32(emit: OnnxEmitter, value: string): string {
  const shifted = (x: string, bits: number): string => {
    const shift = emit.op("BitShift", [emit.cast(x, "uint32"), emit.scalar(bits, "uint32")], {
      attributes: { direction: "RIGHT" },
    });
    return emit.op("BitwiseXor", [x, emit.cast(shift, "int32")]);
  };
  const first = emit.op("Mul", [shifted(value, 16), emit.scalar(0x85ebca6b | 0, "int32")]);
  const second = emit.op("Mul", [shifted(first, 13), emit.scalar(0xc2b2ae35 | 0, "int32")]);
  return shifted(second, 16);
}
