import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { Value, ValueType } from "../graph.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { normalizeAxes } from "./shapes.ts";

function reshape(
  name: string,
  input: string,
  shapeOf: (call: KernelCall, x: Value) => readonly number[],
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
    infer: (call) => {
      const [first] = call.inputs as [Value];
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
    infer: (call) => {
      const [first] = call.inputs as [Value];
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
    name: "PadV2",
    infer: (call) => {
      const paddings = call.attributes["paddings"] as readonly (readonly [number, number])[];
      const x = call.input("x");
      return [
        shaped(
          x.shape.map((size, axis) => size + (paddings[axis]?.[0] ?? 0) + (paddings[axis]?.[1] ?? 0)),
          x,
        ),
      ];
    },
    lower: ({ call, args, emit, outputs }) => {
      const paddings = call.attributes["paddings"] as readonly (readonly [number, number])[];
      const pads = emit.ints([...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)]);
      return [emit.op("Pad", [args[0] as string, pads, emit.scalar(call.number("constantValue"), outputs[0]?.dtype)])];
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
      const axes = normalizeAxes(call.numbers("dims"), call.input("x").shape.length);
      if (axes.length === 0) return [emit.op("Identity", args)];
      const list = (value: number): string => emit.ints(axes.map(() => value));
      return [emit.op("Slice", [args[0] as string, list(-1), list(-(2 ** 31)), emit.ints(axes), list(-1)])];
    },
  },
  {
    name: "Fill",
    infer: (call) => [{ shape: call.numbers("shape"), dtype: fillType(call) }],
    lower: ({ call, emit }) => [
      emit.op("Expand", [emit.scalar(call.number("value"), fillType(call)), emit.ints(call.numbers("shape"))]),
    ],
  },
  {
    name: "Range",
    infer: (call) => [{ shape: [rangeSize(call)], dtype: fillType(call) }],
    lower: ({ call, emit }) => {
      const dtype = fillType(call);
      const values = Array.from({ length: rangeSize(call) }, (_, i) => call.number("start") + i * call.number("step"));
      return [
        emit.constant({
          type: dtype,
          shape: [values.length],
          data: dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values),
        }),
      ];
    },
  },
];

function fillType(call: KernelCall): DType {
  return call.has("dtype") ? (call.text("dtype") as DType) : "float32";
}

function rangeSize(call: KernelCall): number {
  return Math.max(0, Math.ceil((call.number("stop") - call.number("start")) / call.number("step")));
}
