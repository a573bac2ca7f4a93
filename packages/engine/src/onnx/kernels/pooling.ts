import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelDefinition, LoweringCall } from "./definition.ts";
import type { Windows } from "./windows.ts";
import {
  flatPositions,
  frame,
  framedSize,
  fromFirst,
  isPadded,
  scatterSum,
  stackedElements,
  toFirst,
  unframe,
  windowsOf,
} from "./windows.ts";

type Lowering = (context: LoweringCall, windows: Windows) => readonly string[];

/** tfjs's kernels of volumes return float32 whatever they are given. */
function pooling(name: string, lower: Lowering): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const { shape, dtype } = call.input("x");
      return [{ shape: windowsOf(call, { input: shape }).resultShape, dtype: shape.length === 5 ? "float32" : dtype }];
    },
    lower: (context) => lower(context, windowsOf(context.call, { input: context.call.input("x").shape })),
  };
}

function gradient(name: string, lower: Lowering): KernelDefinition {
  return {
    name,
    infer: (call) => [{ shape: call.input("input").shape, dtype: "float32" }],
    lower: (context) => {
      const [input, dy] = [context.call.input("input"), context.call.input("dy")];
      return lower(context, windowsOf(context.call, { input: input.shape, gradient: dy.shape }));
    },
  };
}

export const POOLING: readonly KernelDefinition[] = [
  ...["MaxPool", "MaxPool3D"].map((name) => pooling(name, maxPool)),
  ...["AvgPool", "AvgPool3D"].map((name) => pooling(name, averagePool)),
  // Where several elements are the greatest, tfjs gives an image's gradient to the first and a volume's to the last.
  gradient("MaxPoolGrad", maxPoolGradient),
  gradient("MaxPool3DGrad", (context, windows) => maxPoolGradient(context, windows, "last")),
  ...["AvgPoolGrad", "AvgPool3DGrad"].map((name) => gradient(name, averagePoolGradient)),
  {
    ...pooling("MaxPoolWithArgmax", maxPoolWithArgmax),
    infer: (call) => {
      const { shape, dtype } = call.input("x");
      const { resultShape } = windowsOf(call, { input: shape });
      return [
        { shape: resultShape, dtype },
        { shape: resultShape, dtype: "int32" },
      ];
    },
  },
];

function attributesOf({ size, strides }: Windows): Readonly<Record<string, readonly bigint[]>> {
  return { kernel_shape: size.map(BigInt), strides: strides.map(BigInt) };
}

/** Surrounds the input by what is never the greatest. */
const least = (emit: OnnxEmitter, dtype: DType): string =>
  dtype === "float32" ? emit.scalar(-Infinity) : emit.scalar(-(2 ** 31), dtype);

/** NaN is never the greatest in tfjs; in ONNX Runtime that depends on its place. */
const withoutNaN = (emit: OnnxEmitter, x: string): string =>
  emit.op("Where", [emit.op("IsNaN", [x]), emit.scalar(-Infinity), x]);

function maxPool({ call, args, emit, outputs }: LoweringCall, windows: Windows): string[] {
  const [x] = args as [string];
  const { dtype } = call.input("x");
  if (dtype !== "float32") {
    // ONNX Runtime pools floating-point numbers only.
    const elements = stackedElements(emit, x, { windows, fill: least(emit, dtype) });
    const greatest = emit.op("ReduceMax", [elements, emit.ints([0])], { attributes: { keepdims: 0n } });
    return [emit.cast(greatest, outputs[0]?.dtype ?? dtype)];
  }
  const numbers = toFirst(emit, withoutNaN(emit, x), windows);
  const framed = frame(emit, numbers, { windows, fill: least(emit, dtype), layout: "first" });
  return [fromFirst(emit, emit.op("MaxPool", [framed], { attributes: attributesOf(windows) }), windows)];
}

/** The second result is the position in the input: (row·width + column)·channels + channel, counted through the batch if asked for. */
function maxPoolWithArgmax(context: LoweringCall, windows: Windows): string[] {
  const { call, args, emit } = context;
  const { shape, dtype } = call.input("x");
  const x = dtype === "float32" ? withoutNaN(emit, args[0] as string) : (args[0] as string);
  const elements = stackedElements(emit, x, { windows, fill: least(emit, dtype) });
  const best = emit.op("ArgMax", [elements], { attributes: { axis: 0n, keepdims: 1n } });
  const positions = flatPositions(emit, call.boolean("includeBatchInIndex") ? shape : [1, ...shape.slice(1)]);
  const everywhere = emit.op("Expand", [positions, emit.ints(shape)]);
  const candidates = stackedElements(emit, everywhere, { windows, fill: emit.scalar(-1, "int32") });
  const chosen = emit.op("GatherElements", [candidates, best], { attributes: { axis: 0n } });
  return [maxPool(context, windows)[0] as string, emit.op("Squeeze", [chosen, emit.ints([0])])];
}

/** ∂y goes to the element that was the greatest of its window. ONNX Runtime finds the first; the last is the first of all reversed. */
function maxPoolGradient(
  { call, args, emit }: LoweringCall,
  windows: Windows,
  ties: "first" | "last" = "first",
): string[] {
  const arg = (name: string): string => toFirst(emit, args[call.inputNames.indexOf(name)] as string, windows);
  const ordered = (value: string): string => (ties === "first" ? value : reversed(emit, value, windows));
  const framed = frame(emit, withoutNaN(emit, arg("input")), {
    windows,
    fill: least(emit, "float32"),
    layout: "first",
  });
  const [, positions] = emit.multi("MaxPool", [ordered(framed)], { attributes: attributesOf(windows), outputs: 2 });
  const shape = [windows.batch, windows.channels, ...framedSize(windows)];
  const sums = scatterSum(emit, shape, { positions: positions as string, values: ordered(arg("dy")) });
  return [fromFirst(emit, unframe(emit, ordered(sums), windows), windows)];
}

function reversed(emit: OnnxEmitter, x: string, { input }: Windows): string {
  const list = (value: number): string => emit.ints(input.map(() => value));
  const axes = emit.ints(input.map((_, axis) => axis + 2));
  return emit.op("Slice", [x, list(-1), list(-(2 ** 31)), axes, list(-1)]);
}

/** The mean of the elements inside the input: what lies beyond it counts for nothing. */
function averagePool({ args, emit }: LoweringCall, windows: Windows): string[] {
  const framed = frame(emit, toFirst(emit, args[0] as string, windows), {
    windows,
    fill: emit.scalar(0),
    layout: "first",
  });
  const mean = emit.op("AveragePool", [framed], { attributes: attributesOf(windows) });
  if (!isPadded(windows)) return [fromFirst(emit, mean, windows)];
  const correction = emit.op("Div", [emit.scalar(sizeOf(windows.size)), counts(emit, windows)]);
  return [fromFirst(emit, emit.op("Mul", [mean, correction]), windows)];
}

/**
 * Every element of a window gets ∂y / the number of elements that were averaged. tfjs's cpu kernel divides by the size of the
 * window even where a part of it lies beyond the input, which is not the gradient of what its forward kernel computes.
 */
function averagePoolGradient({ call, args, emit }: LoweringCall, windows: Windows): string[] {
  const dy = toFirst(emit, args[call.inputNames.indexOf("dy")] as string, windows);
  const shares = emit.op("Div", [dy, isPadded(windows) ? counts(emit, windows) : emit.scalar(sizeOf(windows.size))]);
  const ones = emit.op("Expand", [emit.scalar(1), emit.ints([windows.channels, 1, ...windows.size])]);
  const framed = emit.op("ConvTranspose", [shares, ones], {
    attributes: { ...attributesOf(windows), group: BigInt(windows.channels) },
  });
  return [fromFirst(emit, unframe(emit, framed, windows), windows)];
}

/** How many elements of each window lie inside the input: [1, 1, …output]. tfjs averages an empty window of a volume to 0, of an image to NaN. */
function counts(emit: OnnxEmitter, windows: Windows): string {
  const perAxis = windows.output.map((length, axis) => {
    const [stride, before] = [windows.strides[axis] as number, windows.before[axis] as number];
    const inside = (at: number): boolean => at >= 0 && at < (windows.input[axis] as number);
    return Array.from({ length }, (_, place) =>
      Array.from({ length: windows.size[axis] as number }, (__, i) => place * stride - before + i).filter(inside),
    ).map(({ length: count }) => count);
  });
  const least = windows.input.length === 3 ? 1 : 0;
  const products = perAxis.reduce((all, axis) => all.flatMap((head) => axis.map((count) => head * count)), [1]);
  return emit.constant({
    type: "float32",
    shape: [1, 1, ...windows.output],
    data: Float32Array.from(products, (count) => Math.max(count, least)),
  });
}
