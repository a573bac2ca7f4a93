import type { DType } from "@peftjs/core";
import type { KernelCall, KernelDefinition, LoweringCall } from "./definition.ts";
import { normalizeAxes, reducedShape } from "./shapes.ts";
import type { Accepts } from "./types.ts";
import { castTo, computed, computedType } from "./types.ts";

interface ReductionSpec {
  readonly to: string | ((context: LoweringCall, x: string, reduce: (type: string, x: string) => string) => string);
  /** tfjs's name of the attribute that lists the axes. */
  readonly attribute?: string;
  /** Type of the result, from the operand's. */
  readonly dtype?: (from: DType) => DType;
  readonly accepts?: Accepts;
}

function reduction(
  name: string,
  { to, attribute = "axis", dtype = (from) => from, accepts = "numbers" }: ReductionSpec,
): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const x = call.input("x");
      const shape = reducedShape(x.shape, axesOf(call, attribute), call.boolean("keepDims"));
      return [{ shape, dtype: dtype(x.dtype) }];
    },
    lower: (context) => {
      const { call, args, emit } = context;
      const x = call.input("x");
      const axes = normalizeAxes(axesOf(call, attribute), x.shape.length);
      const attributes = { keepdims: call.boolean("keepDims") ? 1n : 0n };
      const reduce = (type: string, value: string): string =>
        axes.length === 0 ? value : emit.op(type, [value, emit.ints(axes)], { attributes });
      const write = ([value]: readonly string[]): string =>
        typeof to === "string" ? reduce(to, value as string) : to(context, value as string, reduce);
      return [computed(emit, { from: x.dtype, to: dtype(x.dtype), accepts }, args, write)];
    },
  };
}

/** No axes given means all of them. */
function axesOf(call: KernelCall, attribute: string): readonly number[] {
  return call.has(attribute) ? call.numbers(attribute) : call.input("x").shape.map((_, axis) => axis);
}

/** tfjs counts truth values. */
const counted = (from: DType): DType => (from === "bool" ? "int32" : from);

/** ONNX Runtime's extremes skip NaN or not, as the values lie in memory. Σ|x| is NaN exactly if one of the values is. */
function extreme(to: string) {
  return ({ call, emit }: LoweringCall, x: string, reduce: (type: string, x: string) => string): string => {
    const result = reduce(to, x);
    if (call.input("x").dtype !== "float32" || result === x) return result;
    const total = reduce("ReduceL1", x);
    return emit.op("Where", [emit.op("IsNaN", [total]), total, result]);
  };
}

function argument(name: string): KernelDefinition {
  return {
    name,
    infer: (call) => [{ shape: reducedShape(call.input("x").shape, call.numbers("axis"), false), dtype: "int32" }],
    lower: ({ call, args, emit }) => {
      const { shape, dtype } = call.input("x");
      const [axis = 0] = normalizeAxes(call.numbers("axis"), shape.length);
      const x = castTo(emit, args[0] as string, dtype, computedType(dtype, "numbers"));
      return [emit.cast(emit.op(name, [x], { attributes: { axis: BigInt(axis), keepdims: 0n } }), "int32")];
    },
  };
}

export const REDUCTIONS: readonly KernelDefinition[] = [
  reduction("Sum", { to: "ReduceSum", dtype: counted }),
  reduction("Prod", { to: "ReduceProd", dtype: counted }),
  reduction("Mean", { to: "ReduceMean", dtype: () => "float32", accepts: "floats" }),
  reduction("Min", { to: extreme("ReduceMin") }),
  reduction("Max", { to: extreme("ReduceMax"), attribute: "reductionIndices" }),
  // Of no values, all are true and none is: a product and a sum know that.
  reduction("All", { to: "ReduceProd" }),
  reduction("Any", { to: "ReduceSum" }),
  argument("ArgMax"),
  argument("ArgMin"),
  {
    name: "Softmax",
    infer: (call) => [call.input("logits")],
    lower: ({ call, args, emit }) => {
      const rank = call.input("logits").shape.length;
      const [axis = rank - 1] = normalizeAxes([call.number("dim")], rank);
      return [emit.op("Softmax", args, { attributes: { axis: BigInt(axis) } })];
    },
  },
  {
    name: "Cumsum",
    infer: (call) => [{ shape: call.input("x").shape, dtype: counted(call.input("x").dtype) }],
    lower: ({ call, args, emit }) => {
      const { dtype } = call.input("x");
      const attributes = { exclusive: call.boolean("exclusive") ? 1n : 0n, reverse: call.boolean("reverse") ? 1n : 0n };
      const axis = emit.scalar(call.number("axis"), "int64");
      return [
        computed(emit, { from: dtype, to: counted(dtype), accepts: "numbers" }, args, ([x]) =>
          emit.op("CumSum", [x as string, axis], { attributes }),
        ),
      ];
    },
  },
  {
    name: "Cumprod",
    infer: (call) => [{ shape: call.input("x").shape, dtype: counted(call.input("x").dtype) }],
    lower: (context) => {
      const { dtype } = context.call.input("x");
      const conversion = { from: dtype, to: counted(dtype), accepts: "numbers" } as const;
      return [computed(context.emit, conversion, context.args, ([x]) => cumulativeProduct(context, x as string))];
    },
  },
];

/**
 * ONNX has no cumulative product. Every result is the product over a row of x of its own, in which what comes later counts as 1: the same
 * order of products as one after the other, in memory for n values per value.
 */
function cumulativeProduct({ call, emit }: LoweringCall, x: string): string {
  const { shape, dtype } = call.input("x");
  const [axis = 0] = normalizeAxes([call.number("axis")], shape.length);
  const n = shape[axis] as number;
  const [first, second] = call.boolean("reverse") ? [0, 1] : [1, 0];
  const places = emit.op("Range", [emit.scalar(0, "int32"), emit.scalar(n, "int32"), emit.scalar(1, "int32")]);
  const trailing = shape.slice(axis + 1).map(() => 1);
  const along = [
    [1, n],
    [n, 1],
  ].map((sides) => emit.op("Reshape", [places, emit.ints([...sides, ...trailing])]));
  const counts = emit.op(call.boolean("exclusive") ? "Less" : "LessOrEqual", [
    along[second] as string,
    along[first] as string,
  ]);
  const rows = emit.op("Unsqueeze", [x, emit.ints([axis])]);
  const filled = emit.op("Where", [counts, rows, emit.scalar(1, counted(dtype))]);
  return emit.op("ReduceProd", [filled, emit.ints([axis + 1])], { attributes: { keepdims: 0n } });
}
