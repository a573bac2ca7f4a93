import { PeftError, sizeOf } from "@peftjs/core";
import type { KernelCall, KernelDefinition, LoweringCall } from "./definition.ts";
import { broadcastShapes } from "./shapes.ts";
import { computed } from "./types.ts";

function productShape(call: KernelCall): number[] {
  const [a, b] = [call.input("a"), call.input("b")];
  const [transposeA, transposeB] = [call.boolean("transposeA"), call.boolean("transposeB")];
  const [rows, innerA] = transposeA ? [a.shape.at(-1), a.shape.at(-2)] : [a.shape.at(-2), a.shape.at(-1)];
  const [innerB, columns] = transposeB ? [b.shape.at(-1), b.shape.at(-2)] : [b.shape.at(-2), b.shape.at(-1)];
  if (innerA !== innerB || rows === undefined || columns === undefined) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `matMul: inner dimensions of [${a.shape.join(", ")}] and [${b.shape.join(", ")}] differ (transposeA ${transposeA}, transposeB ${transposeB}).`,
    );
  }
  return [...broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2)), rows, columns];
}

const flag = (value: boolean): bigint => (value ? 1n : 0n);

const scaleOf = (call: KernelCall): number => (call.has("alpha") ? call.number("alpha") : 1);

/** A transposed operand and a scale are part of the product: nothing is moved for them. */
function product(context: LoweringCall): string {
  const { call, args, emit, outputs } = context;
  const { shape, dtype } = call.input("a");
  // ONNX Runtime's fused product of nothing leaves its result as the memory was.
  if (sizeOf(shape) === 0) return emit.op("Expand", [emit.scalar(0, dtype), emit.ints(outputs[0]?.shape ?? [])]);
  if (dtype !== "float32") return integerProduct(context);
  const [transA, transB] = [call.boolean("transposeA"), call.boolean("transposeB")];
  if (!transA && !transB && scaleOf(call) === 1) return emit.op("MatMul", args.slice(0, 2));
  return emit.contrib("FusedMatMul", args.slice(0, 2), {
    alpha: scaleOf(call),
    transA: flag(transA),
    transB: flag(transB),
  });
}

/** ONNX Runtime's fused products compute floats only. */
function integerProduct({ call, args, emit }: LoweringCall): string {
  const { dtype } = call.input("a");
  const swapped = (name: string, rank: number): string => {
    const axes = Array.from({ length: rank }, (_, axis) => BigInt(axis));
    const perm = [...axes.slice(0, -2), axes.at(-1) as bigint, axes.at(-2) as bigint];
    return emit.op("Transpose", [name], { attributes: { perm } });
  };
  return computed(emit, { from: dtype, accepts: "numbers" }, args.slice(0, 2), ([a, b]) => {
    const left = call.boolean("transposeA") ? swapped(a as string, call.input("a").shape.length) : (a as string);
    const right = call.boolean("transposeB") ? swapped(b as string, call.input("b").shape.length) : (b as string);
    const result = emit.op("MatMul", [left, right]);
    return scaleOf(call) === 1 ? result : emit.op("Mul", [result, emit.scalar(scaleOf(call), "int32")]);
  });
}

export const MATMUL: readonly KernelDefinition[] = [
  {
    name: "BatchMatMul",
    infer: (call) => [{ shape: productShape(call), dtype: call.input("a").dtype }],
    lower: (context) => [product(context)],
  },
  {
    // Not a tfjs kernel: a 2-D product with the addition of a bias row, made by simplification.
    name: "Linear",
    infer: (call) => [{ shape: productShape(call), dtype: call.input("a").dtype }],
    lower: (context) => {
      const { call, args, emit } = context;
      const { shape, dtype } = call.input("a");
      if (dtype !== "float32" || sizeOf(shape) === 0) return [emit.op("Add", [product(context), args[2] as string])];
      return [
        emit.op("Gemm", args, {
          attributes: {
            alpha: scaleOf(call),
            transA: flag(call.boolean("transposeA")),
            transB: flag(call.boolean("transposeB")),
          },
        }),
      ];
    },
  },
  {
    name: "Einsum",
    sameTypes: true,
    infer: (call) => [{ shape: contraction(call).result, dtype: call.inputs[0]?.dtype ?? "float32" }],
    lower: ({ call, args, emit }) => {
      const attributes = { equation: contraction(call).equation };
      const from = call.inputs[0]?.dtype ?? "float32";
      return [
        computed(emit, { from, accepts: "numbers" }, args, (operands) => emit.op("Einsum", operands, { attributes })),
      ];
    },
  },
];

/** Sizes of an equation's letters, and so its result's shape. */
function contraction(call: KernelCall): { readonly equation: string; readonly result: readonly number[] } {
  const equation = call.text("equation").replaceAll(/\s/g, "");
  const [operands = "", result = ""] = equation.split("->");
  const sizes = new Map(
    operands
      .split(",")
      .flatMap((letters, i) =>
        Array.from(letters, (letter, axis) => [letter, call.inputs[i]?.shape[axis] ?? 1] as const),
      ),
  );
  return { equation, result: Array.from(result, (letter) => sizes.get(letter) ?? 1) };
}
