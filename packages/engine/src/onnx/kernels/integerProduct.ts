import type { OnnxEmitter } from "../emitter.ts";
import type { KernelDefinition, LoweringCall } from "./definition.ts";

/** Products with matrices of eight bits (`integerProduct`). */
export const INTEGER_PRODUCT: readonly KernelDefinition[] = [
  {
    /**
     * a [n, k] float32, b int8 [k, m], scales [m] or [k] → float32 [n, m].
     *
     * Row by row, q = round(a/r) with r = max|a|/largest: rows differ by orders of magnitude in gradients, where one factor for all
     * would leave nothing of the small ones. Then a·b ≈ r ⊙ (q·b), a sum of integers that is exact.
     */
    name: "PeftIntegerProduct",
    infer: (call) => [
      { shape: [call.input("a").shape[0] as number, call.input("b").shape[1] as number], dtype: "float32" },
    ],
    lower: (context) => {
      const { call, args, emit } = context;
      const [, b, scales, bias] = args as [string, string, string, string?];
      const isTerms = call.text("scaled") === "terms";
      const { quantized, rows, zero } = quantizedRows(context, isTerms ? scales : null);
      const [one, alpha] = [emit.scalar(1), call.number("alpha")];
      const sum = emit.contrib("MatMulIntegerToFloat", [quantized, b, one, isTerms ? one : scales, zero]);
      const product = emit.op("Mul", [sum, alpha === 1 ? rows : emit.op("Mul", [rows, emit.scalar(alpha)])]);
      return [bias === undefined ? product : emit.op("Add", [product, bias])];
    },
  },
  {
    // What is stored, transposed. `shape` is x's own, handed on as late as the copy is to be made.
    name: "PeftSwapStored",
    infer: (call) => [{ shape: call.input("x").shape.toReversed(), dtype: call.input("x").dtype }],
    lower: ({ args: [x = "", shape], emit }) => {
      const late = shape === undefined ? x : emit.op("Reshape", [x, emit.cast(shape, "int64")]);
      return [emit.op("Transpose", [late], { attributes: { perm: [1n, 0n] } })];
    },
  },
];

/** q as unsigned integers around `zero`, and the factors r [n, 1]. `terms`: factors of the columns of a, or null. */
function quantizedRows({ call, args, emit }: LoweringCall, terms: string | null) {
  const [a] = args as [string];
  const [n] = call.input("a").shape as [number, number];
  const largest = call.number("largest");
  const x = terms === null ? a : emit.op("Mul", [a, terms]);
  const extreme = (type: "ReduceMax" | "ReduceMin"): string =>
    emit.op(type, [x, emit.ints([-1])], { attributes: { keepdims: 1n } });
  // A row of zeros is quantized by the smallest factor that is no denormal.
  const size = emit.op("Max", [extreme("ReduceMax"), emit.op("Neg", [extreme("ReduceMin")]), emit.scalar(1e-30)]);
  const rows = emit.op("Mul", [size, emit.scalar(1 / largest)]);
  const zero = largest + 1;
  const quantized = emit.op("QuantizeLinear", [x, emit.op("Reshape", [rows, emit.ints([n])]), zeros(emit, n, zero)], {
    attributes: { axis: 0n },
  });
  return { quantized, rows, zero: emit.scalar(zero, "uint8") };
}

function zeros(emit: OnnxEmitter, n: number, zero: number): string {
  return emit.constant({ type: "uint8", shape: [n], data: new Uint8Array(n).fill(zero) });
}
