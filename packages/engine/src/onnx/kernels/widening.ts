import type { HalfType } from "@peftjs/core";
import type { OnnxEmitter } from "../emitter.ts";
import { ONNX_TYPE } from "../emitter.ts";
import type { KernelCall, KernelDefinition } from "./definition.ts";
import { INDEXING } from "./indexing.ts";

const GATHER = INDEXING.find(({ name }) => name === "GatherV2") as KernelDefinition;

/** What makes float32 values of frozen weights that are stored in two bytes each. Nothing else reads such an argument. */
export const WIDENING: readonly KernelDefinition[] = [
  {
    // `shape` is x's own, handed on as late as the values are to be widened: a view of x that nobody can make earlier.
    name: "PeftWiden",
    infer: (call) => [call.input("x")],
    lower: ({ call, args: [x = "", shape], emit }) => {
      if (shape === undefined) return [widened(emit, x, halfType(call))];
      const late = widened(emit, emit.op("Reshape", [x, emit.cast(shape, "int64")]), halfType(call));
      // ONNX Runtime joins a product with the sum behind it only where it knows all shapes beforehand.
      return [emit.op("Reshape", [late, emit.ints(call.input("x").shape)])];
    },
  },
  {
    // GatherV2 of what is stored: only the rows that are read are widened.
    name: "PeftWidenRows",
    infer: (call) => GATHER.infer(call),
    lower: (context) => [widened(context.emit, GATHER.lower(context)[0] as string, halfType(context.call))],
  },
];

function widened(emit: OnnxEmitter, bits: string, from: HalfType): string {
  if (from === "float16") return emit.cast(bits, "float32");
  return emit.cast(emit.op("BitCast", [bits], { attributes: { to: BigInt(ONNX_TYPE.bfloat16) } }), "float32");
}

function halfType(call: KernelCall): HalfType {
  return call.text("from") as HalfType;
}
