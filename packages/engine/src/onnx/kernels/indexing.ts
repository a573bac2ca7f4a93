import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { normalizeAxes } from "./shapes.ts";

/** Kernels that read where indices point. */
export const INDEXING: readonly KernelDefinition[] = [
  {
    name: "GatherV2",
    infer: (call) => [{ shape: gatherShapes(call).result, dtype: call.input("x").dtype }],
    lower: ({ call, args, emit }) => {
      const [x, indices] = args as [string, string];
      const { axis, batchDims, blocks, places, result } = gatherShapes(call);
      if (batchDims === 0) return [emit.op("Gather", args, { attributes: { axis: BigInt(axis) } })];
      // x as [batch, dim, outer, inner], so that the indices of a batch point at its own rows.
      const swap = (name: string): string => emit.op("Transpose", [name], { attributes: { perm: [0n, 2n, 1n, 3n] } });
      const rows = swap(emit.op("Reshape", [x, emit.ints(blocks)]));
      const pointers = emit.op("Reshape", [emit.cast(indices, "int64"), emit.ints(places)]);
      const found = emit.op("GatherND", [rows, pointers], { attributes: { batch_dims: 1n } });
      return [emit.op("Reshape", [swap(found), emit.ints(result)])];
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

/** x is [batch, outer, dim, inner], its dimension `dim` is read at the places [batch, rest] of the indices. */
function gatherShapes(call: KernelCall) {
  const [x, indices] = [call.input("x").shape, call.input("indices").shape];
  const [axis = 0] = normalizeAxes([call.number("axis")], x.length);
  const [batchDims = 0] = normalizeAxes([call.has("batchDims") ? call.number("batchDims") : 0], indices.length);
  const batch = sizeOf(x.slice(0, batchDims));
  const blocks = [batch, sizeOf(x.slice(batchDims, axis)), x[axis] as number, sizeOf(x.slice(axis + 1))];
  const places = [batch, sizeOf(indices.slice(batchDims)), 1];
  return {
    axis,
    batchDims,
    blocks,
    places,
    result: [...x.slice(0, axis), ...indices.slice(batchDims), ...x.slice(axis + 1)],
  };
}

function oneHotType(attributes: Readonly<Record<string, unknown>>): DType {
  return (attributes["dtype"] as DType | undefined) ?? "int32";
}
