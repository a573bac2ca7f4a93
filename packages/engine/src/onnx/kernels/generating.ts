import type { DType } from "@peftjs/core";
import type { KernelCall, KernelDefinition } from "./definition.ts";

/** Kernels without operands. */
export const GENERATING: readonly KernelDefinition[] = [
  {
    name: "Fill",
    infer: (call) => [{ shape: call.numbers("shape"), dtype: typeOf(call) }],
    lower: ({ call, emit }) => [
      emit.op("Expand", [emit.scalar(call.number("value"), typeOf(call)), emit.ints(call.numbers("shape"))]),
    ],
  },
  {
    name: "Range",
    infer: (call) => [{ shape: [rangeOf(call).size], dtype: typeOf(call) }],
    lower: ({ call, emit }) => {
      const { size, step } = rangeOf(call);
      const [type, start] = [typeOf(call), call.number("start")];
      const values = Array.from({ length: size }, (_, i) => start + i * step);
      const data = type === "int32" ? Int32Array.from(values) : Float32Array.from(values);
      return [emit.constant({ type, shape: [size], data })];
    },
  },
  {
    name: "LinSpace",
    infer: (call) => [{ shape: [call.number("num")], dtype: "float32" }],
    lower: ({ call, emit }) => {
      const [start, stop, num] = [call.number("start"), call.number("stop"), call.number("num")];
      const data = Float32Array.from({ length: num }, (_, i) =>
        i === 0 ? start : start + (i * (stop - start)) / (num - 1),
      );
      return [emit.constant({ type: "float32", shape: [num], data })];
    },
  },
];

function typeOf(call: KernelCall): DType {
  return call.has("dtype") ? (call.text("dtype") as DType) : "float32";
}

/** tfjs turns a step of 1 around when `stop` lies below `start`. */
function rangeOf(call: KernelCall): { readonly size: number; readonly step: number } {
  const [start, stop, given] = [call.number("start"), call.number("stop"), call.number("step")];
  const step = stop < start && given === 1 ? -1 : given;
  return { size: Math.max(0, Math.ceil((stop - start) / step)), step };
}
