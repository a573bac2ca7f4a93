import type { OnnxEmitter } from "../emitter.ts";
import type { KernelDefinition, LoweringCall } from "./definition.ts";

export const NORMALIZATION: readonly KernelDefinition[] = [
  {
    // y = (x − μ)·γ/√(σ² + ε) + β
    name: "FusedBatchNorm",
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
      const { norm, inverse, band } = neighbourhood(context, x);
      const shared = emit.op("MatMul", [emit.op("Div", [emit.op("Mul", [dy, y]), norm]), band]);
      const factor = emit.scalar(2 * call.number("alpha") * call.number("beta"));
      const indirect = emit.op("Mul", [emit.op("Mul", [x, factor]), shared]);
      return [emit.op("Sub", [emit.op("Mul", [dy, inverse]), indirect])];
    },
  },
];

interface Neighbourhood {
  /** n and n^(−β), in the shape of x. */
  readonly norm: string;
  readonly inverse: string;
  /** [channels, channels], 1 where two channels are at most r apart: a product with it sums over neighbours. */
  readonly band: string;
}

function neighbourhood({ call, emit }: LoweringCall, x: string): Neighbourhood {
  const band = bandMatrix(emit, call.input("x").shape.at(-1) ?? 0, call.number("depthRadius"));
  const sums = emit.op("MatMul", [emit.op("Mul", [x, x]), band]);
  const norm = emit.op("Add", [
    emit.op("Mul", [sums, emit.scalar(call.number("alpha"))]),
    emit.scalar(call.number("bias")),
  ]);
  return { norm, inverse: emit.op("Pow", [norm, emit.scalar(-call.number("beta"))]), band };
}

function bandMatrix(emit: OnnxEmitter, channels: number, radius: number): string {
  const data = Float32Array.from({ length: channels * channels }, (_, i) =>
    Number(Math.abs(Math.floor(i / channels) - (i % channels)) <= radius),
  );
  return emit.constant({ type: "float32", shape: [channels, channels], data });
}
