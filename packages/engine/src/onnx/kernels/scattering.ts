import type { DType } from "@peftjs/core";
import type { OnnxEmitter } from "../emitter.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { computed } from "./types.ts";

const zeros = (emit: OnnxEmitter, shape: readonly number[], dtype: DType): string =>
  emit.op("Expand", [emit.scalar(0, dtype), emit.ints(shape)]);

/** Kernels that write where indices point. */
export const SCATTERING: readonly KernelDefinition[] = [
  {
    // Rows for the same place are added.
    name: "ScatterNd",
    infer: (call) => [{ shape: call.numbers("shape"), dtype: call.input("updates").dtype }],
    lower: ({ call, args, emit }) => {
      const { dtype } = call.input("updates");
      const [indices, updates] = args as [string, string];
      const type = dtype === "bool" ? "int32" : dtype;
      const write = ([rows]: readonly string[]): string =>
        emit.op(
          "ScatterND",
          [zeros(emit, call.numbers("shape"), type), pointers(call, indices, emit), spread(call, rows as string, emit)],
          { attributes: { reduction: "add" } },
        );
      return [computed(emit, { from: dtype, accepts: "numbers" }, [updates], write)];
    },
  },
  {
    // Of rows for the same place one is kept; which one is not defined.
    name: "TensorScatterUpdate",
    infer: (call) => [call.input("tensor")],
    lower: ({ call, args, emit }) => {
      const [tensor, indices, updates] = args as [string, string, string];
      return [emit.op("ScatterND", [tensor, pointers(call, indices, emit), spread(call, updates, emit)])];
    },
  },
  {
    // Adds the rows of x that share a segment: the gradient of a table look-up. Rows of a segment that does not exist count as 0.
    name: "UnsortedSegmentSum",
    infer: (call) => {
      const [x, ids] = [call.input("x"), call.input("segmentIds")];
      return [{ shape: [call.number("numSegments"), ...x.shape.slice(ids.shape.length)], dtype: x.dtype }];
    },
    lower: ({ call, args, emit, outputs }) => {
      const [x, ids] = args as [string, string];
      const { shape } = call.input("segmentIds");
      const { dtype } = call.input("x");
      const int = (value: number): string => emit.scalar(value, "int32");
      const inRange = emit.op("And", [
        emit.op("GreaterOrEqual", [ids, int(0)]),
        emit.op("Less", [ids, int(call.number("numSegments"))]),
      ]);
      const trailing = call.input("x").shape.slice(shape.length);
      const perRow = emit.op("Reshape", [inRange, emit.ints([...shape, ...trailing.map(() => 1)])]);
      const rows = emit.op("Where", [perRow, x, emit.scalar(0, dtype)]);
      const target = emit.op("Where", [inRange, ids, int(0)]);
      const indices = emit.op("Unsqueeze", [emit.cast(target, "int64"), emit.ints([-1])]);
      return [
        emit.op("ScatterND", [zeros(emit, outputs[0]?.shape ?? [], dtype), indices, rows], {
          attributes: { reduction: "add" },
        }),
      ];
    },
  },
];

/** tfjs reads a list of numbers as a list of one-dimensional indices. */
function indexShape(call: KernelCall): readonly number[] {
  const { shape } = call.input("indices");
  return shape.length === 1 ? [...shape, 1] : shape;
}

function pointers(call: KernelCall, indices: string, emit: OnnxEmitter): string {
  return emit.op("Reshape", [emit.cast(indices, "int64"), emit.ints(indexShape(call))], {
    attributes: { allowzero: 1n },
  });
}

/** A single number is written to every place. */
function spread(call: KernelCall, updates: string, emit: OnnxEmitter): string {
  const target = call.has("shape") ? call.numbers("shape") : call.input("tensor").shape;
  const places = indexShape(call);
  return emit.op("Expand", [updates, emit.ints([...places.slice(0, -1), ...target.slice(places.at(-1))])]);
}
