import { ONNX_TYPE } from "../emitter.ts";
import type { KernelDefinition, LoweringCall } from "./definition.ts";

/** What makes float32 values of frozen weights that are stored in one or two bytes each (`readStored`). */
export const WIDENING: readonly KernelDefinition[] = [
  {
    // `shape` is x's own, handed on as late as the values are to be widened: x seen through it cannot be read earlier.
    name: "PeftWiden",
    infer: (call) => [call.input("x")],
    lower: (context) => {
      const { call, args, emit } = context;
      const [x = ""] = args;
      const shape = args[call.inputNames.indexOf("shape")];
      if (shape === undefined) return [widened(context, x)];
      const late = widened(context, emit.op("Reshape", [x, emit.cast(shape, "int64")]));
      // ONNX Runtime joins a product with the sum behind it only where it knows all shapes beforehand.
      return [emit.op("Reshape", [late, emit.ints(call.input("x").shape)])];
    },
  },
];

function widened({ call, args, emit }: LoweringCall, bits: string): string {
  const from = call.text("from");
  if (from === "float16") return emit.cast(bits, "float32");
  if (from === "bfloat16")
    return emit.cast(emit.op("BitCast", [bits], { attributes: { to: BigInt(ONNX_TYPE.bfloat16) } }), "float32");
  const named = (name: string): string | undefined => args[call.inputNames.indexOf(name)];
  const axis = call.number("axis");
  const product = emit.op("DequantizeLinear", [bits, named("scales") as string], {
    attributes: { axis: BigInt(axis) },
  });
  const inputScales = named("inputScales");
  if (inputScales === undefined) return product;
  return emit.op("Mul", [product, axis === 0 ? inputScales : emit.op("Unsqueeze", [inputScales, emit.ints([1])])]);
}
