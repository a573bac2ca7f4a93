import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { KernelDefinition, LoweringCall } from "./definition.ts";
import { castTo, computedType } from "./types.ts";

/** Kernels that sort, search and count. */
export const ORDERING: readonly KernelDefinition[] = [
  {
    // Sorted whether tfjs asks for it or not: of equal values the first comes first.
    name: "TopK",
    infer: (call) => {
      const { shape, dtype } = call.input("x");
      const kept = shape.with(-1, call.number("k"));
      return [
        { shape: kept, dtype },
        { shape: kept, dtype: "int32" },
      ];
    },
    lower: ({ call, args, emit }) => {
      const { dtype } = call.input("x");
      const type = computedType(dtype, "numbers");
      const x = castTo(emit, args[0] as string, dtype, type);
      const [values, indices] = emit.multi("TopK", [x, emit.ints([call.number("k")])], { outputs: 2 }) as [
        string,
        string,
      ];
      return [castTo(emit, values, type, dtype), emit.cast(indices, "int32")];
    },
  },
  {
    // How many of a row's values lie before the one that is searched: sortedSequence [rows, n], values [rows, m].
    name: "SearchSorted",
    sameTypes: true,
    infer: (call) => [{ shape: call.input("values").shape, dtype: "int32" }],
    lower: ({ call, args, emit }) => {
      const { dtype } = call.input("sortedSequence");
      const [sequence, values] = args.map((arg) => castTo(emit, arg, dtype, computedType(dtype, "numbers"))) as [
        string,
        string,
      ];
      const before = emit.op(call.text("side") === "left" ? "Less" : "LessOrEqual", [
        emit.op("Unsqueeze", [sequence, emit.ints([1])]),
        emit.op("Unsqueeze", [values, emit.ints([2])]),
      ]);
      const count = emit.op("ReduceSum", [emit.cast(before, "int32"), emit.ints([2])], {
        attributes: { keepdims: 0n },
      });
      return [count];
    },
  },
  {
    name: "Bincount",
    infer: (call) => [{ shape: [call.number("size")], dtype: call.input("weights").dtype }],
    lower: (context) => [binCounts(context, [sizeOf(context.call.input("x").shape)])],
  },
  {
    // The counts of every row of x.
    name: "DenseBincount",
    infer: (call) => [
      { shape: [...call.input("x").shape.slice(0, -1), call.number("size")], dtype: call.input("weights").dtype },
    ],
    lower: (context) => [binCounts(context, context.call.input("x").shape)],
  },
];

/** Σ of the weights (ones, if there are none) that share a value, in bins along the last axis of `shape`; values beyond the last bin fall into one more, which is dropped. */
function binCounts({ call, args, emit, outputs }: LoweringCall, shape: readonly number[]): string {
  const [x, weights] = args as [string, string];
  const size = call.number("size");
  const dtype = outputs[0]?.dtype as DType;
  const [rows, axis] = [shape.slice(0, -1), shape.length - 1];
  const spread = (value: number, to: readonly number[]): string =>
    emit.op("Expand", [emit.scalar(value, dtype), emit.ints(to)]);
  const inShape = (name: string): string =>
    emit.op("Reshape", [name, emit.ints(shape)], { attributes: { allowzero: 1n } });
  const bins = emit.cast(inShape(emit.op("Min", [x, emit.scalar(size, "int32")])), "int64");
  const once = call.has("binaryOutput") && call.boolean("binaryOutput");
  const weighted = !once && sizeOf(call.input("weights").shape) > 0;
  const counts = emit.op(
    "ScatterElements",
    [spread(0, [...rows, size + 1]), bins, weighted ? inShape(weights) : spread(1, shape)],
    { attributes: { axis: BigInt(axis), reduction: once ? "none" : "add" } },
  );
  return emit.op("Slice", [counts, emit.ints([0]), emit.ints([size]), emit.ints([axis])]);
}
