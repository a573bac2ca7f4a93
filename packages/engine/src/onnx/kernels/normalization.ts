import { sizeOf } from "@peftjs/core";
import type { KernelDefinition, LoweringCall } from "./definition.ts";

export const NORMALIZATION: readonly KernelDefinition[] = [
  {
    // y = (x − μ)·γ/√(σ² + ε) + β
    name: "FusedBatchNorm",
    sameTypes: true,
    infer: (call) => [call.input("x")],
    lower: ({ call, args, emit }) => {
      const arg = (name: string): string | undefined => args[call.inputNames.indexOf(name)];
      const epsilon = call.has("varianceEpsilon") ? call.number("varianceEpsilon") : 1e-3;
      const variance = emit.op("Add", [arg("variance") as string, emit.scalar(epsilon)]);
      const centred = emit.op("Sub", [arg("x") as string, arg("mean") as string]);
      const [scale, offset] = [arg("scale"), arg("offset")];
      const scaled = scale === undefined ? centred : emit.op("Mul", [centred, scale]);
      const normalized = emit.op("Div", [scaled, emit.op("Sqrt", [variance])]);
      return [offset === undefined ? normalized : emit.op("Add", [normalized, offset])];
    },
  },
  {
    // y = x·n^(−β), n = b + α·Σ x² over the channels at most r away.
    name: "LRN",
    infer: (call) => [call.input("x")],
    lower: (context) => {
      const { args, emit } = context;
      const { inverse } = neighbourhood(context, args[0] as string);
      return [emit.op("Mul", [args[0] as string, inverse])];
    },
  },
  {
    // ∂x = ∂y·n^(−β) − 2αβ·x·Σ ∂y·y/n over the same channels.
    name: "LRNGrad",
    infer: (call) => [call.input("x")],
    lower: (context) => {
      const { call, args, emit } = context;
      const [x, y, dy] = ["x", "y", "dy"].map((name) => args[call.inputNames.indexOf(name)]) as [
        string,
        string,
        string,
      ];
      const { norm, inverse } = neighbourhood(context, x);
      const shared = sumOfNeighbours(context, emit.op("Div", [emit.op("Mul", [dy, y]), norm]));
      const factor = emit.scalar(2 * call.number("alpha") * call.number("beta"));
      const indirect = emit.op("Mul", [emit.op("Mul", [x, factor]), shared]);
      return [emit.op("Sub", [emit.op("Mul", [dy, inverse]), indirect])];
    },
  },
];

/** n and n^(−β), in the shape of x. */
function neighbourhood(context: LoweringCall, x: string): { readonly norm: string; readonly inverse: string } {
  const { call, emit } = context;
  const sums = sumOfNeighbours(context, emit.op("Mul", [x, x]));
  const weighted = emit.op("Mul", [sums, emit.scalar(call.number("alpha"))]);
  const norm = emit.op("Add", [weighted, emit.scalar(call.number("bias"))]);
  return { norm, inverse: emit.op("Pow", [norm, emit.scalar(-call.number("beta"))]) };
}

/** Σ over the channels at most r away, zeros beyond the first and the last: a mean over windows of 2r + 1, times that. */
function sumOfNeighbours({ call, emit }: LoweringCall, x: string): string {
  const { shape } = call.input("x");
  const channels = shape.at(-1) ?? 0;
  const radius = call.number("depthRadius");
  const size = 2 * radius + 1;
  const rows = emit.op("Reshape", [x, emit.ints([sizeOf(shape.slice(0, -1)), 1, channels])]);
  const means = emit.op("AveragePool", [rows], {
    attributes: { kernel_shape: [BigInt(size)], pads: [BigInt(radius), BigInt(radius)], count_include_pad: 1n },
  });
  return emit.op("Reshape", [emit.op("Mul", [means, emit.scalar(size)]), emit.ints(shape)]);
}
