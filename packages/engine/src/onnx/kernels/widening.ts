import type { OnnxEmitter } from "../emitter.ts";
import { ONNX_TYPE } from "../emitter.ts";
import type { KernelDefinition } from "./definition.ts";

/** What makes float32 values of frozen weights that are stored in two bytes each (`widenAtUse`). */
export const WIDENING: readonly KernelDefinition[] = [
  {
    // `shape` is x's own, handed on as late as the values are to be widened: x seen through it cannot be read earlier.
    name: "PeftWiden",
    infer: (call) => [call.input("x")],
    lower: ({ call, args: [x = "", shape], emit }) => {
      const from = call.text("from");
      if (shape === undefined) return [widened(emit, x, from)];
      const late = widened(emit, emit.op("Reshape", [x, emit.cast(shape, "int64")]), from);
      // ONNX Runtime joins a product with the sum behind it only where it knows all shapes beforehand.
      return [emit.op("Reshape", [late, emit.ints(call.input("x").shape)])];
    },
  },
];

function widened(emit: OnnxEmitter, bits: string, from: string): string {
  if (from === "float16") return emit.cast(bits, "float32");
  return emit.cast(emit.op("BitCast", [bits], { attributes: { to: BigInt(ONNX_TYPE.bfloat16) } }), "float32");
}
