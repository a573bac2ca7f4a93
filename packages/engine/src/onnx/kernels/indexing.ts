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
        throw new PeftError(
          "KERNEL_UNSUPPORTED",
          `gather with batchDims ${batchDims} cannot be compiled. Reshape so that batchDims is 0.`,
        );
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
      return [
        emit.op("ScatterND", [empty, emit.cast(indices, "int64"), updates], { attributes: { reduction: "add" } }),
      ];
    },
  },
  {
    // A comparison with 0 … depth − 1: indices outside give a row of `offValue`, as in tfjs. (ONNX's OneHot counts negative ones from the end.)
    name: "OneHot",
    infer: (call) => [
      { shape: [...call.input("indices").shape, call.number("depth")], dtype: oneHotType(call.attributes) },
    ],
    lower: ({ call, args, emit, outputs }) => {
      const dtype = outputs[0]?.dtype ?? "int32";
      const column = emit.op("Unsqueeze", [args[0] as string, emit.ints([-1])]);
      const classes = emit.op("Range", [
        emit.scalar(0, "int32"),
        emit.scalar(call.number("depth"), "int32"),
        emit.scalar(1, "int32"),
      ]);
      const hit = emit.op("Equal", [column, classes]);
      const [on, off] = [call.number("onValue"), call.number("offValue")];
      if (on === 1 && off === 0) return [dtype === "bool" ? hit : emit.cast(hit, dtype)];
      return [emit.op("Where", [hit, emit.scalar(on, dtype), emit.scalar(off, dtype)])];
    },
  },
];

function oneHotType(attributes: Readonly<Record<string, unknown>>): DType {
  return (attributes["dtype"] as DType | undefined) ?? "int32";
}
