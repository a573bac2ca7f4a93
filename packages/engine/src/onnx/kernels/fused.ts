import type { Attributes, ValueType } from "../graph.ts";

import { CONVOLUTION } from "./convolution.ts";
import type { KernelDefinition, LoweringCall } from "./definition.ts";
import { KernelCall } from "./definition.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { MATMUL } from "./matmul.ts";

/** A fused kernel is a product or a convolution, a bias and an activation. Each is lowered as the kernel that it is by itself. */
export const FUSED: readonly KernelDefinition[] = [
  fused("_FusedMatMul", "BatchMatMul", ["a", "b"]),
  fused("FusedConv2D", "Conv2D", ["x", "filter"]),
  fused("FusedDepthwiseConv2D", "DepthwiseConv2dNative", ["x", "filter"]),
];

const ACTIVATIONS: Readonly<Record<string, string>> = {
  linear: "Identity",
  relu: "Relu",
  relu6: "Relu6",
  elu: "Elu",
  leakyrelu: "LeakyRelu",
  prelu: "Prelu",
  sigmoid: "Sigmoid",
};

/** tfjs's default of tf.leakyRelu. */
const LEAKY_SLOPE = 0.2;

function fused(name: string, base: string, operands: readonly string[]): KernelDefinition {
  return {
    name,
    infer: (call) => {
      const values = operands.map((operand) => call.input(operand));
      return partOf(base).infer(new KernelCall(base, operands, values, call.attributes));
    },
    lower: (context) => {
      const { call } = context;
      const inputs = Object.fromEntries(operands.map((operand) => [operand, operandOf(context, operand)]));
      let y = lowerPart(context, base, { inputs, attributes: call.attributes });
      if (call.inputNames.includes("bias"))
        y = lowerPart(context, "Add", { inputs: { a: y, b: perChannel(context, "bias") } });
      const alpha = call.has("leakyreluAlpha") ? call.number("leakyreluAlpha") : LEAKY_SLOPE;
      const slopes = call.inputNames.includes("preluActivationWeights")
        ? { alpha: perChannel(context, "preluActivationWeights") }
        : {};
      const activation = ACTIVATIONS[call.text("activation")] as string;
      return [lowerPart(context, activation, { inputs: { x: y, ...slopes }, attributes: { alpha } }).name];
    },
  };
}

/** A value and its ONNX name. */
interface Operand {
  readonly name: string;
  readonly value: ValueType;
}

interface Part {
  readonly inputs: Readonly<Record<string, Operand>>;
  readonly attributes?: Attributes;
}

function partOf(kernel: string): KernelDefinition {
  return [...MATMUL, ...CONVOLUTION, ...ELEMENTWISE].find(({ name }) => name === kernel) as KernelDefinition;
}

/** Every part has the shape of the whole result. */
function lowerPart(context: LoweringCall, kernel: string, { inputs, attributes = {} }: Part): Operand {
  const operands = Object.values(inputs);
  const values = operands.map(({ value }) => value);
  const call = new KernelCall(kernel, Object.keys(inputs), values, attributes);
  const [name] = partOf(kernel).lower({ ...context, call, args: operands.map((operand) => operand.name) });
  return { name: name as string, value: context.outputs[0] as ValueType };
}

function operandOf({ call, args }: LoweringCall, input: string): Operand {
  return { name: args[call.inputNames.indexOf(input)] as string, value: call.input(input) };
}

/** One number per channel stands beside the channels, wherever the data format has them. */
function perChannel(context: LoweringCall, input: string): Operand {
  const operand = operandOf(context, input);
  const { shape, dtype } = operand.value;
  const isFirst = context.call.attributes["dataFormat"] === "NCHW";
  if (!isFirst || shape.length !== 1 || shape[0] === 1) return operand;
  const aligned = [...shape, 1, 1];
  return {
    name: context.emit.op("Reshape", [operand.name, context.emit.ints(aligned)]),
    value: { shape: aligned, dtype },
  };
}
