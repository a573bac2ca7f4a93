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
      const { quantized, factors, zero } = isTerms
        ? quantizedRows(context, emit.op("Mul", [args[0] as string, scales]))
        : withNaN(context, quantizedRows(context, args[0] as string));
      const [one, alpha] = [emit.scalar(1), call.number("alpha")];
      const sum = emit.contrib("MatMulIntegerToFloat", [quantized, b, one, isTerms ? one : scales, zero]);
      const product = emit.op("Mul", [sum, alpha === 1 ? factors : emit.op("Mul", [factors, emit.scalar(alpha)])]);
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

function quantizedRows({ call, emit }: LoweringCall, x: string): QuantizedRows {
  const [n] = call.input("a").shape as [number, number];
  const largest = call.number("largest");
  const [high, low] = [overRows(emit, "ReduceMax", x), overRows(emit, "ReduceMin", x)];
  // A row of zeros is quantized by the smallest factor that is no denormal.
  const size = emit.op("Max", [high, emit.op("Neg", [low]), emit.scalar(1e-30)]);
  const factors = emit.op("Mul", [size, emit.scalar(1 / largest)]);
  const zero = largest + 1;
  const steps = emit.op("Reshape", [factors, emit.ints([n])]);
  const quantized = emit.op("QuantizeLinear", [x, steps, zeros(emit, n, zero)], { attributes: { axis: 0n } });
  return { quantized, factors, zero: emit.scalar(zero, "uint8") };
}

/**
 * Neither the integers nor a row's extremes know of NaN. It must not get lost on the way to a loss or a prediction: a sum does know. (That
 * of a gradient whose loss is NaN may.)
 */
function withNaN({ args, emit }: LoweringCall, rows: QuantizedRows): QuantizedRows {
  const unknown = emit.op("Mul", [overRows(emit, "ReduceSum", args[0] as string), emit.scalar(0)]);
  return { ...rows, factors: emit.op("Add", [rows.factors, unknown]) };
}

function overRows(emit: OnnxEmitter, type: "ReduceMax" | "ReduceMin" | "ReduceSum", x: string): string {
  return emit.op(type, [x, emit.ints([-1])], { attributes: { keepdims: 1n } });
}

function zeros(emit: OnnxEmitter, n: number, zero: number): string {
  return emit.constant({ type: "uint8", shape: [n], data: new Uint8Array(n).fill(zero) });
}
