import type { DType } from "@peftjs/core";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelDefinition } from "./definition.ts";
import { broadcastShapes } from "./shapes.ts";
import type { Accepts } from "./types.ts";
import { computed } from "./types.ts";

/** Writes the nodes for two operands of the type the kernel computes in. */
type Write = (emit: OnnxEmitter, args: readonly [string, string], dtype: DType) => string;

interface BinarySpec {
  readonly to: string | Write;
  /** Type of the result; the first operand's if not given. */
  readonly dtype?: DType;
  /** Most operators compute float32 and int32. */
  readonly accepts?: Accepts;
}

function binary(name: string, { to, dtype, accepts = "numbers" }: BinarySpec): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const [a, b] = [call.input("a"), call.input("b")];
      return [{ shape: broadcastShapes(a.shape, b.shape), dtype: dtype ?? a.dtype }];
    },
    lower: ({ call, args, emit }) => {
      const from = call.input("a").dtype;
      const write = (operands: readonly string[]): string =>
        typeof to === "string" ? emit.op(to, operands) : to(emit, operands as [string, string], from);
      return [computed(emit, { from, to: dtype, accepts }, args, write, dtype)];
    },
  };
}

export const BINARY: readonly KernelDefinition[] = [
  binary("Add", { to: "Add" }),
  binary("Sub", { to: "Sub" }),
  binary("Multiply", { to: "Mul" }),
  // The integer operator stops the process at a division by zero.
  binary("RealDiv", { to: "Div", accepts: "floats" }),
  binary("Maximum", { to: "Max" }),
  binary("Minimum", { to: "Min" }),
  binary("Pow", { to: "Pow" }),
  binary("BitwiseAnd", { to: "BitwiseAnd" }),
  binary("Atan2", { to: (emit, args) => atan2(emit, ...args), accepts: "floats" }),
  binary("Equal", { to: "Equal", dtype: "bool", accepts: "all" }),
  binary("NotEqual", { to: (emit, args) => emit.op("Not", [emit.op("Equal", args)]), dtype: "bool", accepts: "all" }),
  binary("Greater", { to: "Greater", dtype: "bool" }),
  binary("GreaterEqual", { to: "GreaterOrEqual", dtype: "bool" }),
  binary("Less", { to: "Less", dtype: "bool" }),
  binary("LessEqual", { to: "LessOrEqual", dtype: "bool" }),
  binary("LogicalAnd", { to: "And", dtype: "bool", accepts: "all" }),
  binary("LogicalOr", { to: "Or", dtype: "bool", accepts: "all" }),
  binary("SquaredDifference", {
    to: (emit, args) => {
      const difference = emit.op("Sub", args);
      return emit.op("Mul", [difference, difference]);
    },
  }),
  // tfjs's result is int32 whatever the operands are.
  binary("FloorDiv", { to: floorDiv, dtype: "int32" }),
  binary("Mod", { to: (emit, args, dtype) => (dtype === "float32" ? floatMod(emit, ...args) : intMod(emit, ...args)) }),
];

function floorDiv(emit: OnnxEmitter, [a, b]: readonly [string, string], dtype: DType): string {
  if (dtype === "float32") return emit.cast(emit.op("Floor", [emit.op("Div", [a, b])]), "int32");
  // (a − a mod b)/b is exact, and rounds down because the remainder has the divisor's sign.
  const { isZero, divisor } = nonZero(emit, b);
  const multiple = emit.op("Sub", [a, emit.op("Mod", [a, divisor])]);
  return emit.op("Where", [isZero, emit.scalar(0, "int32"), emit.op("Div", [multiple, divisor])]);
}

/** The remainder with the divisor's sign: fmod's r, which has the dividend's, or r + b where the two differ and r is not 0. */
function floatMod(emit: OnnxEmitter, a: string, b: string): string {
  const zero = emit.scalar(0);
  const remainder = emit.op("Mod", [a, b], { attributes: { fmod: 1n } });
  const agree = emit.op("Equal", [emit.op("Less", [remainder, zero]), emit.op("Less", [b, zero])]);
  const stays = emit.op("Or", [agree, emit.op("Equal", [remainder, zero])]);
  return emit.op("Where", [stays, remainder, emit.op("Add", [remainder, b])]);
}

/** ONNX's integer Mod has the divisor's sign already. x mod 1 = 0 is what tfjs gives for x mod 0, too. */
function intMod(emit: OnnxEmitter, a: string, b: string): string {
  return emit.op("Mod", [a, nonZero(emit, b).divisor]);
}

/** Integer operators stop the process at a division by zero: they see 1 instead. */
function nonZero(emit: OnnxEmitter, b: string): { readonly isZero: string; readonly divisor: string } {
  const isZero = emit.op("Equal", [b, emit.scalar(0, "int32")]);
  return { isZero, divisor: emit.op("Where", [isZero, emit.scalar(1, "int32"), b]) };
}

/**
 * The angle of (x, y): atan(|y|/|x|) in the first quadrant, then reflected by the signs of x and y. Those of −0 count, as in tfjs.
 * |y| = |x| covers 0/0 and ∞/∞, whose quotient is not a number.
 */
function atan2(emit: OnnxEmitter, y: string, x: string): string {
  const zero = emit.scalar(0);
  const isNegative = (value: string): string =>
    emit.op("Or", [emit.op("Less", [value, zero]), emit.op("Less", [emit.op("Reciprocal", [value]), zero])]);
  const [height, width] = [emit.op("Abs", [y]), emit.op("Abs", [x])];
  const slope = emit.op("Where", [
    emit.op("Equal", [height, width]),
    emit.op("Sign", [height]),
    emit.op("Div", [height, width]),
  ]);
  const angle = emit.op("Atan", [slope]);
  const turned = emit.op("Where", [isNegative(x), emit.op("Sub", [emit.scalar(Math.PI), angle]), angle]);
  return emit.op("Where", [isNegative(y), emit.op("Neg", [turned]), turned]);
}
