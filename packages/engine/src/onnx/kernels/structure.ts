import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { ValueType } from "../graph.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { normalizeAxes } from "./shapes.ts";

function reshape(
  name: string,
  input: string,
  shapeOf: (call: KernelCall, x: ValueType) => readonly number[],
): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const x = call.input(input);
      return [{ shape: shapeOf(call, x), dtype: x.dtype }];
    },
    // allowzero: a dimension of 0 is a size, not "copy from the input".
    lower: ({ args, emit, outputs }) => [
      emit.op("Reshape", [args[0] as string, emit.ints(outputs[0]?.shape ?? [])], { attributes: { allowzero: 1n } }),
    ],
  };
}

function inferredShape(shape: readonly number[], size: number): readonly number[] {
  const known = sizeOf(shape.filter((dimension) => dimension !== -1));
  return shape.map((dimension) => (dimension === -1 ? (known === 0 ? 0 : size / known) : dimension));
}

/** tfjs slice sizes: −1 is "to the end". */
export function sliceSize(call: KernelCall): { begin: readonly number[]; size: readonly number[] } {
  const { shape } = call.input("x");
  const begin = shape.map((_, axis) => call.numbers("begin")[axis] ?? 0);
  const size = shape.map((dimension, axis) => {
    const asked = call.numbers("size")[axis] ?? -1;
    return asked === -1 ? dimension - (begin[axis] as number) : asked;
  });
  return { begin, size };
}

function splitSizes(call: KernelCall): { axis: number; sizes: readonly number[] } {
  const { shape } = call.input("x");
  const axis = normalizeAxes([call.number("axis")], shape.length)[0] as number;
  const asked = call.attributes["numOrSizeSplits"];
  const total = shape[axis] as number;
  if (typeof asked === "number") return { axis, sizes: Array.from({ length: asked }, () => total / asked) };
  const list = call.numbers("numOrSizeSplits");
  const known = list.filter((size) => size !== -1).reduce((sum, size) => sum + size, 0);
  return { axis, sizes: list.map((size) => (size === -1 ? total - known : size)) };
}

function axisOf(call: KernelCall, rank: number): number {
  return normalizeAxes([call.number("axis")], rank)[0] as number;
}

const shaped = (shape: readonly number[], { dtype }: ValueType): ValueType => ({ shape, dtype });

export const STRUCTURE: readonly KernelDefinition[] = [
  reshape("Reshape", "x", (call, x) => inferredShape(call.numbers("shape"), sizeOf(x.shape))),
  reshape("ExpandDims", "input", (call, x) => {
    const dim = call.number("dim");
    const at = dim < 0 ? x.shape.length + dim + 1 : dim;
    return [...x.shape.slice(0, at), 1, ...x.shape.slice(at)];
  }),
  {
    name: "Transpose",
    infer: (call) => [
      shaped(
        call.numbers("perm").map((axis) => call.input("x").shape[axis] as number),
        call.input("x"),
      ),
    ],
    lower: ({ call, args, emit }) => [
      emit.op("Transpose", args, { attributes: { perm: call.numbers("perm").map(BigInt) } }),
    ],
  },
  {
    name: "Slice",
    infer: (call) => [shaped(sliceSize(call).size, call.input("x"))],
    lower: ({ call, args, emit }) => {
      const { begin, size } = sliceSize(call);
      const axes = size.flatMap((length, axis) => (length === call.input("x").shape[axis] ? [] : [axis]));
      if (axes.length === 0) return [emit.op("Identity", args)];
      const starts = axes.map((axis) => begin[axis] as number);
      const ends = axes.map((axis) => (begin[axis] as number) + (size[axis] as number));
      return [emit.op("Slice", [args[0] as string, emit.ints(starts), emit.ints(ends), emit.ints(axes)])];
    },
  },
  {
    name: "Concat",
    sameTypes: true,
    infer: (call) => {
      const [first] = call.inputs as [ValueType];
      const axis = axisOf(call, first.shape.length);
      const total = call.inputs.reduce((sum, input) => sum + (input.shape[axis] as number), 0);
      return [shaped(first.shape.with(axis, total), first)];
    },
    lower: ({ call, args, emit }) => [
      emit.op("Concat", args, { attributes: { axis: BigInt(axisOf(call, call.inputs[0]?.shape.length ?? 0)) } }),
    ],
  },
  {
    name: "Pack",
    sameTypes: true,
    infer: (call) => {
      const [first] = call.inputs as [ValueType];
      const axis = axisOf(call, first.shape.length + 1);
      return [shaped([...first.shape.slice(0, axis), call.inputs.length, ...first.shape.slice(axis)], first)];
    },
    lower: ({ call, args, emit }) => {
      const axis = axisOf(call, (call.inputs[0]?.shape.length ?? 0) + 1);
      const expanded = args.map((arg) => emit.op("Unsqueeze", [arg, emit.ints([axis])]));
      return [emit.op("Concat", expanded, { attributes: { axis: BigInt(axis) } })];
    },
  },
  {
    name: "Unpack",
    list: true,
    infer: (call) => {
      const value = call.input("value");
      const axis = axisOf(call, value.shape.length);
      return Array.from({ length: value.shape[axis] as number }, () => shaped(value.shape.toSpliced(axis, 1), value));
    },
    lower: ({ call, args, emit, outputs }) => {
      const axis = axisOf(call, call.input("value").shape.length);
      return outputs.map((_, i) =>
        emit.op("Gather", [args[0] as string, emit.scalar(i, "int64")], { attributes: { axis: BigInt(axis) } }),
      );
    },
  },
  {
    name: "SplitV",
    list: true,
    infer: (call) => {
      const x = call.input("x");
      const { axis, sizes } = splitSizes(call);
      return sizes.map((size) => shaped(x.shape.with(axis, size), x));
    },
    lower: ({ call, args, emit }) => {
      const { axis, sizes } = splitSizes(call);
      return emit.multi("Split", [args[0] as string, emit.ints(sizes)], {
        attributes: { axis: BigInt(axis) },
        outputs: sizes.length,
      });
    },
  },
  {
    name: "Tile",
    infer: (call) => [
      shaped(
        call.input("x").shape.map((size, axis) => size * (call.numbers("reps")[axis] ?? 1)),
        call.input("x"),
      ),
    ],
    lower: ({ call, args, emit }) => [emit.op("Tile", [args[0] as string, emit.ints(call.numbers("reps"))])],
  },
  {
    // Not a tfjs kernel: made by simplification from a product with ones.
    name: "BroadcastTo",
    infer: (call) => [shaped(call.numbers("shape"), call.input("x"))],
    lower: ({ call, args, emit }) => [emit.op("Expand", [args[0] as string, emit.ints(call.numbers("shape"))])],
  },
  {
    name: "Reverse",
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const { shape } = call.input("x");
      const axes = call.has("dims") ? normalizeAxes(call.numbers("dims"), shape.length) : shape.map((_, axis) => axis);
      if (axes.length === 0) return [emit.op("Identity", args)];
      const list = (value: number): string => emit.ints(axes.map(() => value));
      return [emit.op("Slice", [args[0] as string, list(-1), list(-(2 ** 31)), emit.ints(axes), list(-1)])];
    },
  },
  {
    // diag(x)[i…, j…] = x[i…] where i = j, else 0. Rows of x followed by n zeros, read n at a time, have x on the diagonal.
    name: "Diag",
    infer: (call) => [shaped([...call.input("x").shape, ...call.input("x").shape], call.input("x"))],
    lower: ({ call, args, emit, outputs }) => {
      const { shape, dtype } = call.input("x");
      const n = sizeOf(shape);
      const column = emit.op("Reshape", [args[0] as string, emit.ints([n, 1])]);
      const rows = emit.op("Pad", [column, emit.ints([0, 0, 0, n]), emit.scalar(0, dtype)]);
      const list = emit.op("Reshape", [rows, emit.ints([-1])]);
      const diagonal = emit.op("Slice", [list, emit.ints([0]), emit.ints([n * n])]);
      return [emit.op("Reshape", [diagonal, emit.ints(outputs[0]?.shape ?? [])])];
    },
  },
  {
    name: "StridedSlice",
    infer: (call) => [shaped(stridedSlice(call).finalShape, call.input("x"))],
    lower: ({ call, args, emit }) => {
      const { begin, strides, finalShape, counts } = stridedSlice(call);
      // Past the first value there is no index for a step back: any number far below 0 is.
      const ends = counts.map((count, axis) => {
        const end = (begin[axis] as number) + count * (strides[axis] as number);
        return end < 0 ? -(2 ** 31) : end;
      });
      const axes = emit.ints(counts.map((_, axis) => axis));
      const sliced = emit.op("Slice", [args[0] as string, emit.ints(begin), emit.ints(ends), axes, emit.ints(strides)]);
      return [emit.op("Reshape", [sliced, emit.ints(finalShape)])];
    },
  },
  {
    // Of two shapes, as tensors, the one both broadcast to.
    name: "BroadcastArgs",
    infer: (call) => [
      { shape: [Math.max(sizeOf(call.input("s0").shape), sizeOf(call.input("s1").shape))], dtype: "int32" },
    ],
    lower: ({ call, args, emit, outputs }) => {
      const rank = outputs[0]?.shape[0] ?? 0;
      const [a, b] = args.map((arg, i) => {
        const missing = rank - sizeOf(call.inputs[i]?.shape ?? []);
        return emit.op("Pad", [arg, emit.ints([missing, 0]), emit.scalar(1, "int32")]);
      }) as [string, string];
      return [emit.op("Where", [emit.op("Equal", [a, emit.scalar(1, "int32")]), b, a])];
    },
  },
];

/** Begin, step and count per axis of x, and the result's shape, by tfjs's own rules for the masks. */
function stridedSlice(call: KernelCall) {
  const { shape } = call.input("x");
  const list = (name: string): number[] => [...call.numbers(name)];
  const { begin, end, strides, finalShape } = tf.slice_util.sliceInfo(
    [...shape],
    list("begin"),
    list("end"),
    list("strides"),
    call.number("beginMask"),
    call.number("endMask"),
    call.number("ellipsisMask"),
    call.number("newAxisMask"),
    call.number("shrinkAxisMask"),
  );
  const counts = shape.map((_, axis) =>
    Math.max(0, Math.ceil(((end[axis] as number) - (begin[axis] as number)) / (strides[axis] as number))),
  );
  return { begin, strides, finalShape, counts };
}
