import type { DType } from "@peftjs/core";
import { PeftError } from "@peftjs/core";
import type { KernelDefinition } from "./definition.ts";
import { normalizeAxes } from "./shapes.ts";

export const INDEXING: readonly KernelDefinition[] = [
  {
    name: "GatherV2",
    infer: (call) => {
      const [x, indices] = [call.input("x"), call.input("indices")];
      const batchDims = call.has("batchDims") ? call.number("batchDims") : 0;
      if (batchDims !== 0) {
        throw new PeftError("KERNEL_UNSUPPORTED", `gather with batchDims ${batchDims} cannot be compiled. Reshape so that batchDims is 0.`);
      }
      const [axis] = normalizeAxes([call.number("axis")], x.shape.length) as [number];
      return [{ shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], dtype: x.dtype }];
    },
    lower: ({ call, args, emit }) => {
      const [axis] = normalizeAxes([call.number("axis")], call.input("x").shape.length) as [number];
      return [emit.op("Gather", args, { attributes: { axis: BigInt(axis) } })];
    },
  },
  {
    name: "GatherNd",
    infer: (call) => {
      const [params, indices] = [call.input("params"), call.input("indices")];
      const depth = indices.shape.at(-1) ?? 0;
      return [{ shape: [...indices.shape.slice(0, -1), ...params.shape.slice(depth)], dtype: params.dtype }];
    },
    lower: ({ args, emit }) => [emit.op("GatherND", [args[0] as string, emit.cast(args[1] as string, "int64")])],
  },
  {
    name: "ScatterNd",
    infer: (call) => [{ shape: call.numbers("shape"), dtype: call.input("updates").dtype }],
    lower: ({ call, args, emit, outputs }) => {
      const [indices, updates] = args as [string, string];
      const empty = emit.op("Expand", [emit.scalar(0, outputs[0]?.dtype), emit.ints(call.numbers("shape"))]);
      return [emit.op("ScatterND", [empty, emit.cast(indices, "int64"), updates], { attributes: { reduction: "add" } })];
    },
  },
  {
    // Indices outside [0, depth) give a row of `offValue` in tfjs; ONNX counts negative ones from the end, so they are moved out of range.
    name: "OneHot",
    infer: (call) => [{ shape: [...call.input("indices").shape, call.number("depth")], dtype: oneHotType(call.attributes) }],
    lower: ({ call, args, emit, outputs }) => {
      const dtype = outputs[0]?.dtype === "int32" ? "int32" : "float32";
      const depth = call.number("depth");
      const index = emit.cast(args[0] as string, "int64");
      const safe = emit.op("Where", [emit.op("Less", [index, emit.scalar(0, "int64")]), emit.scalar(depth, "int64"), index]);
      const values = [call.number("offValue"), call.number("onValue")];
      const pair = emit.constant({ type: dtype, shape: [2], data: dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values) });
      const result = emit.op("OneHot", [safe, emit.scalar(depth, "int64"), pair]);
      return [outputs[0]?.dtype === "bool" ? emit.cast(result, "bool") : result];
    },
  },
];

function oneHotType(attributes: Readonly<Record<string, unknown>>): DType {
  return (attributes["dtype"] as DType | undefined) ?? "int32";
}
