import type { DType } from "@peftjs/core";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { normalizeAxes, reducedShape } from "./shapes.ts";

/** ReduceX over `attribute`; axes are an input except where this operator set still has them as an attribute. */
function reduction(name: string, to: string, attribute = "axis"): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const x = call.input("x");
      return [{ shape: reducedShape(x.shape, axesOf(call, attribute), call.boolean("keepDims")), dtype: x.dtype }];
    },
    lower: ({ call, args, emit }) => {
      const x = call.input("x");
      const axes = normalizeAxes(axesOf(call, attribute), x.shape.length);
      if (axes.length === 0) return [emit.op("Identity", args)];
      const keepdims = call.boolean("keepDims") ? 1n : 0n;
      return [emit.op(to, [args[0] as string, emit.ints(axes)], { attributes: { keepdims } })];
    },
  };
}

/** No axes given means all of them. */
function axesOf(call: KernelCall, attribute: string): readonly number[] {
  return call.has(attribute) ? call.numbers(attribute) : call.input("x").shape.map((_, axis) => axis);
}

/** Truth reductions go through int32: ONNX reduces numbers only. */
function truth(name: string, to: string): KernelDefinition {
  const numeric = reduction(name, to);
  return {
    ...numeric,
    lower: (context) => {
      const asNumber = context.emit.cast(context.args[0] as string, "int32");
      return [context.emit.cast(numeric.lower({ ...context, args: [asNumber] })[0] as string, "bool")];
    },
  };
}

function argument(name: string): KernelDefinition {
  return {
    name,
    infer: (call) => [{ shape: reducedShape(call.input("x").shape, call.numbers("axis"), false), dtype: "int32" }],
    lower: ({ call, args, emit }) => {
      const [axis] = normalizeAxes(call.numbers("axis"), call.input("x").shape.length);
      const index = emit.op(name, args, { attributes: { axis: BigInt(axis ?? 0), keepdims: 0n } });
      return [emit.cast(index, "int32")];
    },
  };
}

export const REDUCTIONS: readonly KernelDefinition[] = [
  reduction("Sum", "ReduceSum"),
  reduction("Mean", "ReduceMean"),
  reduction("Prod", "ReduceProd"),
  reduction("Min", "ReduceMin"),
  reduction("Max", "ReduceMax", "reductionIndices"),
  truth("All", "ReduceMin"),
  truth("Any", "ReduceMax"),
  argument("ArgMax"),
  argument("ArgMin"),
  {
    name: "Softmax",
    infer: (call) => [call.input("logits")],
    lower: ({ call, args, emit }) => {
      const rank = call.input("logits").shape.length;
      const [axis] = normalizeAxes([call.number("dim")], rank);
      return [emit.op("Softmax", args, { attributes: { axis: BigInt(axis ?? rank - 1) } })];
    },
  },
  {
    name: "Cumsum",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const flags = { exclusive: call.boolean("exclusive") ? 1n : 0n, reverse: call.boolean("reverse") ? 1n : 0n };
      return [emit.op("CumSum", [args[0] as string, emit.scalar(call.number("axis"), "int64")], { attributes: flags })];
    },
  },
  {
    // Adds the rows of x that share a segment: the gradient of a table look-up.
    name: "UnsortedSegmentSum",
    infer: (call) => {
      const [x, ids] = [call.input("x"), call.input("segmentIds")];
      return [{ shape: [call.number("numSegments"), ...x.shape.slice(ids.shape.length)], dtype: x.dtype }];
    },
    lower: ({ call, args, emit, outputs }) => {
      const [x, ids] = args as [string, string];
      const idShape = call.input("segmentIds").shape;
      const dtype = outputs[0]?.dtype as DType;
      const empty = emit.op("Expand", [emit.scalar(0, dtype), emit.ints(outputs[0]?.shape ?? [])]);
      const indices = emit.op("Reshape", [emit.cast(ids, "int64"), emit.ints([...idShape, 1])]);
      return [emit.op("ScatterND", [empty, indices, x], { attributes: { reduction: "add" } })];
    },
  },
];
