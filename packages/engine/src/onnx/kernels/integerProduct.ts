import type { OnnxEmitter } from "../emitter.ts";
import type { KernelDefinition } from "./definition.ts";

/** Products with matrices of eight bits (`integerProduct`). */
export const INTEGER_PRODUCT: readonly KernelDefinition[] = [
  {
    /**
     * a [n, k] float32, b int8 [k, m]; terms [k], columns [m], bias [m] if there are any → ((a ⊙ terms)·b) ⊙ columns + bias, [n, m].
     *
     * Row by row, q = round(x/r) with x = a ⊙ terms and r = max|x|/largest: rows differ by orders of magnitude in gradients, where one
     * factor for all would leave nothing of the small ones. Then x·b ≈ r ⊙ (q·b), a sum of integers that is exact.
     */
    name: "PeftIntegerProduct",
    infer: (call) => [
      { shape: [call.input("a").shape[0] as number, call.input("b").shape[1] as number], dtype: "float32" },
    ],
    lower: ({ call, args, emit }) => {
      const named = (name: string): string | undefined => args[call.inputNames.indexOf(name)];
      const [a, b] = args as [string, string];
      const terms = named("terms");
      const x = terms === undefined ? a : emit.op("Mul", [a, terms]);
      const { quantized, factors, zero } = quantizedRows(emit, x, {
        rows: call.input("a").shape[0] as number,
        largest: call.number("largest"),
      });
      const one = emit.scalar(1);
      const sum = emit.contrib("MatMulIntegerToFloat", [quantized, b, one, named("columns") ?? one, zero]);
      const alpha = call.number("alpha");
      const scaled = alpha === 1 ? factors : emit.op("Mul", [factors, emit.scalar(alpha)]);
      const product = emit.op("Mul", [sum, call.boolean("keepNaN") ? withNaN(emit, scaled, x) : scaled]);
      const bias = named("bias");
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

interface QuantizedRows {
  /** q as unsigned integers around `zero`. */
  readonly quantized: string;
  readonly zero: string;
  /** r [n, 1]. */
  readonly factors: string;
}

function quantizedRows(
  emit: OnnxEmitter,
  x: string,
  { rows, largest }: { readonly rows: number; readonly largest: number },
): QuantizedRows {
  const [high, low] = [overRows(emit, "ReduceMax", x), overRows(emit, "ReduceMin", x)];
  // A row of zeros is quantized by the smallest factor that is no denormal.
  const size = emit.op("Max", [high, emit.op("Neg", [low]), emit.scalar(1e-30)]);
  const factors = emit.op("Mul", [size, emit.scalar(1 / largest)]);
  const zero = largest + 1;
  const steps = emit.op("Reshape", [factors, emit.ints([rows])]);
  const zeros = emit.constant({ type: "uint8", shape: [rows], data: new Uint8Array(rows).fill(zero) });
  const quantized = emit.op("QuantizeLinear", [x, steps, zeros], { attributes: { axis: 0n } });
  return { quantized, factors, zero: emit.scalar(zero, "uint8") };
}

/** Neither the integers nor a row's extremes know of NaN, which must not get lost on the way to a loss or a prediction. A sum does know. */
function withNaN(emit: OnnxEmitter, factors: string, x: string): string {
  return emit.op("Add", [factors, emit.op("Mul", [overRows(emit, "ReduceSum", x), emit.scalar(0)])]);
}

function overRows(emit: OnnxEmitter, type: "ReduceMax" | "ReduceMin" | "ReduceSum", x: string): string {
  return emit.op(type, [x, emit.ints([-1])], { attributes: { keepdims: 1n } });
}
