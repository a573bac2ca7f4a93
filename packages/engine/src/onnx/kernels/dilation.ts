import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { KernelDefinition, LoweringCall } from "./definition.ts";
import type { Windows } from "./windows.ts";
import { flatPositions, scatterSum, stackedElements, windowsOf } from "./windows.ts";

/** y = max over the window of x + W, per channel (grey-scale dilation); the gradients go to the first of the greatest. */
export const DILATION: readonly KernelDefinition[] = [
  {
    name: "Dilation2D",
    infer: (call) => [{ shape: geometry({ call }).resultShape, dtype: call.input("x").dtype }],
    lower: (context) => [
      context.emit.op("ReduceMax", [candidates(context, geometry(context)), context.emit.ints([0])], {
        attributes: { keepdims: 0n },
      }),
    ],
  },
  {
    name: "Dilation2DBackpropInput",
    infer: (call) => [call.input("x")],
    lower: (context) => {
      const { call, emit } = context;
      const { shape } = call.input("x");
      const windows = geometry(context);
      const places = stackedElements(emit, flatPositions(emit, shape), { windows, fill: emit.scalar(-1, "int32") });
      const positions = emit.op("GatherElements", [places, best(context, windows)], { attributes: { axis: 0n } });
      return [scatterSum(emit, shape, { positions, values: argument(context, "dy") })];
    },
  },
  {
    name: "Dilation2DBackpropFilter",
    infer: (call) => [call.input("filter")],
    lower: (context) => {
      const { call, emit } = context;
      const { shape } = call.input("filter");
      const windows = geometry(context);
      const channels = emit.cast(flatPositions(emit, [windows.channels]), "int64");
      const element = emit.op("Mul", [best(context, windows), emit.scalar(windows.channels, "int64")]);
      const positions = emit.op("Add", [element, channels]);
      return [scatterSum(emit, shape, { positions, values: argument(context, "dy") })];
    },
  },
];

function geometry({ call }: Pick<LoweringCall, "call">): Windows {
  const input = call.input("x").shape;
  return windowsOf(call, { input, filter: [...call.input("filter").shape, input.at(-1) ?? 0] });
}

const argument = ({ call, args }: LoweringCall, name: string): string => args[call.inputNames.indexOf(name)] as string;

/** x + W for every element of every window: [window elements, batch, …output, channels]. */
function candidates(context: LoweringCall, windows: Windows): string {
  const { call, emit } = context;
  const elements = stackedElements(emit, argument(context, "x"), {
    windows,
    fill: lowest(call.input("x").dtype, context),
  });
  const filter = emit.ints([sizeOf(windows.size), 1, 1, 1, windows.channels]);
  return emit.op("Add", [elements, emit.op("Reshape", [argument(context, "filter"), filter])]);
}

/** tfjs starts from the least safe integer. Half of the least int32: adding the filter does not go round. */
function lowest(dtype: DType, { emit }: LoweringCall): string {
  return emit.scalar(dtype === "float32" ? Number.MIN_SAFE_INTEGER : -(2 ** 30), dtype);
}

/** Which element of its window was the greatest, [1, batch, …output, channels]. */
function best(context: LoweringCall, windows: Windows): string {
  return context.emit.op("ArgMax", [candidates(context, windows)], { attributes: { axis: 0n, keepdims: 1n } });
}
