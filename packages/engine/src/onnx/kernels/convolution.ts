import { sizeOf } from "@peftjs/core";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import type { Windows } from "./windows.ts";
import {
  elementOfWindows,
  frame,
  fromFirst,
  isPointwise,
  offsets,
  toFirst,
  toLast,
  unframe,
  windowsOf,
} from "./windows.ts";

/** Three kernels of one convolution: itself and its gradients. tfjs's filters are [window…, in, out] or [window…, in, multiplier]. */
interface Family {
  readonly forward: string;
  readonly inputGradient: string;
  readonly filterGradient: string;
  readonly depthwise: boolean;
}

const FAMILIES: readonly Family[] = [
  {
    forward: "Conv2D",
    inputGradient: "Conv2DBackpropInput",
    filterGradient: "Conv2DBackpropFilter",
    depthwise: false,
  },
  {
    forward: "Conv3D",
    inputGradient: "Conv3DBackpropInputV2",
    filterGradient: "Conv3DBackpropFilterV2",
    depthwise: false,
  },
  {
    forward: "DepthwiseConv2dNative",
    inputGradient: "DepthwiseConv2dNativeBackpropInput",
    filterGradient: "DepthwiseConv2dNativeBackpropFilter",
    depthwise: true,
  },
];

interface Convolution {
  readonly windows: Windows;
  readonly depthwise: boolean;
  readonly filterShape: readonly number[];
}

export const CONVOLUTION: readonly KernelDefinition[] = FAMILIES.flatMap((family) => [
  forward(family),
  inputGradient(family),
  filterGradient(family),
]);

function forward({ forward: name, depthwise }: Family): KernelDefinition {
  const read = (call: KernelCall): Convolution => {
    const filterShape = call.input("filter").shape;
    return {
      windows: windowsOf(call, { input: call.input("x").shape, filter: filterShape, depthwise }),
      depthwise,
      filterShape,
    };
  };
  return {
    name,
    infer: (call) => [{ shape: read(call).windows.resultShape, dtype: call.input("x").dtype }],
    lower: ({ call, args, emit }) => {
      const convolution = read(call);
      const { windows } = convolution;
      const [x, filter] = args as [string, string];
      if (!depthwise && isPointwise(windows)) return [emit.op("MatMul", [x, matrix(emit, filter, convolution)])];
      const framed = frame(emit, toFirst(emit, x, windows), { windows, fill: emit.scalar(0), layout: "first" });
      const y = emit.op("Conv", [framed, onnxFilter(emit, filter, convolution)], {
        attributes: attributesOf(convolution),
      });
      return [fromFirst(emit, y, windows)];
    },
  };
}

/** ∂x: every element of the results' gradient spreads the filter over its window. */
function inputGradient({ inputGradient: name, depthwise }: Family): KernelDefinition {
  return {
    name,
    infer: (call) => [{ shape: call.numbers("inputShape"), dtype: "float32" }],
    lower: ({ call, emit, args }) => {
      const filterShape = call.input("filter").shape;
      const gradient = call.input("dy").shape;
      const windows = windowsOf(call, { input: call.numbers("inputShape"), filter: filterShape, depthwise, gradient });
      const convolution = { windows, depthwise, filterShape };
      const [dy, filter] = args.map((arg, i) =>
        call.inputs[i]?.dtype === "float32" ? arg : emit.cast(arg, "float32"),
      ) as [string, string];
      if (!depthwise && isPointwise(windows))
        return [emit.contrib("FusedMatMul", [dy, matrix(emit, filter, convolution)], { transB: 1n })];
      const framed = emit.op("ConvTranspose", [toFirst(emit, dy, windows), onnxFilter(emit, filter, convolution)], {
        attributes: attributesOf(convolution),
      });
      return [fromFirst(emit, unframe(emit, framed, windows), windows)];
    },
  };
}

/** ∂W: for every place of the window a product of the input elements that lie there with the results' gradient. */
function filterGradient({ filterGradient: name, depthwise }: Family): KernelDefinition {
  return {
    name,
    infer: (call) => [{ shape: call.numbers("filterShape"), dtype: "float32" }],
    lower: ({ call, args, emit }) => {
      const filterShape = call.numbers("filterShape");
      const gradient = call.input("dy").shape;
      const windows = windowsOf(call, { input: call.input("x").shape, filter: filterShape, depthwise, gradient });
      const [x, dy] = args.map((arg) => toLast(emit, arg, windows)) as [string, string];
      const framed = frame(emit, x, { windows, fill: emit.scalar(0), layout: "last" });
      const rows = windows.batch * sizeOf(windows.output);
      const [inputs, outputs] = filterShape.slice(-2) as [number, number];
      const reshape = (value: string, shape: readonly number[]): string =>
        emit.op("Reshape", [value, emit.ints(shape)]);
      const gradients = reshape(dy, depthwise ? [rows, inputs, outputs] : [rows, outputs]);
      const places = offsets(windows).map((offset) => {
        const element = elementOfWindows(emit, framed, { windows, offset });
        if (depthwise) {
          const products = emit.op("Mul", [reshape(element, [rows, inputs, 1]), gradients]);
          return emit.op("ReduceSum", [products, emit.ints([0])], { attributes: { keepdims: 0n } });
        }
        return emit.contrib("FusedMatMul", [reshape(element, [rows, inputs]), gradients], { transA: 1n });
      });
      return [reshape(emit.op("Concat", places, { attributes: { axis: 0n } }), filterShape)];
    },
  };
}

/** A 1×1 filter as a matrix [in, out]. */
function matrix(emit: OnnxEmitter, filter: string, { filterShape }: Convolution): string {
  return emit.op("Reshape", [filter, emit.ints(filterShape.slice(-2))]);
}

/** The filter in ONNX's order: [out, in, window…], or [in·multiplier, 1, window…]. */
function onnxFilter(emit: OnnxEmitter, filter: string, { depthwise, filterShape, windows }: Convolution): string {
  const rank = windows.size.length;
  const channels = depthwise ? [rank, rank + 1] : [rank + 1, rank];
  const perm = [...channels, ...windows.size.map((_, axis) => axis)];
  const ordered = emit.op("Transpose", [filter], { attributes: { perm: perm.map(BigInt) } });
  if (!depthwise) return ordered;
  return emit.op("Reshape", [ordered, emit.ints([sizeOf(filterShape.slice(-2)), 1, ...windows.size])]);
}

function attributesOf({ windows, depthwise }: Convolution): Readonly<Record<string, bigint | readonly bigint[]>> {
  return {
    kernel_shape: windows.size.map(BigInt),
    strides: windows.strides.map(BigInt),
    dilations: windows.dilations.map(BigInt),
    group: depthwise ? BigInt(windows.channels) : 1n,
  };
}
