import { PeftError } from "@peftjs/core";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { broadcastShapes } from "./shapes.ts";

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

export const MATMUL: readonly KernelDefinition[] = [
  {
    // A transposed operand and a scale are part of the product: nothing is moved for them.
    name: "BatchMatMul",
    infer: (call) => [{ shape: productShape(call), dtype: call.input("a").dtype }],
    lower: ({ call, args, emit }) => {
      const alpha = call.has("alpha") ? call.number("alpha") : 1;
      const [transA, transB] = [call.boolean("transposeA"), call.boolean("transposeB")];
      if (!transA && !transB && alpha === 1) return [emit.op("MatMul", args)];
      return [emit.contrib("FusedMatMul", args, { alpha, transA: flag(transA), transB: flag(transB) })];
    },
  },
  {
    // Not a tfjs kernel: a 2-D product with the addition of a bias row, made by simplification.
    name: "Linear",
    infer: (call) => [{ shape: productShape(call), dtype: call.input("a").dtype }],
    lower: ({ call, args, emit }) => [
      emit.op("Gemm", args, {
        attributes: {
          alpha: call.has("alpha") ? call.number("alpha") : 1,
          transA: flag(call.boolean("transposeA")),
          transB: flag(call.boolean("transposeB")),
        },
      }),
    ],
  },
];
