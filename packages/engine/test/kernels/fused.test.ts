import { tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, it } from "vitest";
import type { Inputs, Op } from "../harness.ts";
import { compare, compareGradients, values } from "../harness.ts";

type Activation = tf.fused.Activation;

const ACTIVATIONS: readonly Activation[] = ["linear", "relu", "relu6", "elu", "leakyrelu", "prelu", "sigmoid"];

/** Arguments of all three operations beside the operands themselves. */
type Extra = Pick<
  Parameters<typeof tf.fused.matMul>[0],
  "bias" | "activation" | "preluActivationWeights" | "leakyreluAlpha"
>;

function extra(activation: Activation, { bias, slopes }: Record<string, tf.Tensor>): Extra {
  return {
    activation,
    leakyreluAlpha: 0.3,
    ...(bias === undefined ? {} : { bias }),
    ...(slopes === undefined ? {} : { preluActivationWeights: slopes }),
  };
}

interface FusedCase {
  readonly op: (activation: Activation) => Op;
  readonly inputs: Inputs;
  readonly channels: number;
}

const CASES: Readonly<Record<string, FusedCase>> = {
  matMul: {
    op:
      (activation) =>
      ({ a, b, ...rest }) =>
        tf.fused.matMul({ a: a as tf.Tensor, b: b as tf.Tensor, transposeB: true, ...extra(activation, rest) }),
    inputs: { a: values([3, 5]), b: values([4, 5], -2, 2, 2) },
    channels: 4,
  },
  "batched matMul": {
    op:
      (activation) =>
      ({ a, b, ...rest }) =>
        tf.fused.matMul({ a: a as tf.Tensor, b: b as tf.Tensor, transposeA: true, ...extra(activation, rest) }),
    inputs: { a: values([2, 3, 5]), b: values([2, 3, 4], -2, 2, 2) },
    channels: 4,
  },
  conv2d: {
    op:
      (activation) =>
      ({ x, filter, ...rest }) =>
        tf.fused.conv2d({
          x: x as tf.Tensor4D,
          filter: filter as tf.Tensor4D,
          strides: [2, 1],
          pad: "same",
          ...extra(activation, rest),
        }),
    inputs: { x: values([2, 4, 5, 3]), filter: values([3, 2, 3, 4], -1, 1, 2) },
    channels: 4,
  },
  depthwiseConv2d: {
    op:
      (activation) =>
      ({ x, filter, ...rest }) =>
        tf.fused.depthwiseConv2d({
          x: x as tf.Tensor4D,
          filter: filter as tf.Tensor4D,
          strides: 1,
          pad: "valid",
          ...extra(activation, rest),
        }),
    inputs: { x: values([2, 4, 5, 3]), filter: values([2, 3, 3, 2], -1, 1, 2) },
    channels: 6,
  },
};

// Products and convolutions sum up to 18 products in another order: tol.deep.
describe.each(Object.entries(CASES))("fused %s", (_, { op, inputs, channels }) => {
  it.each(ACTIVATIONS)("%s", async (activation) => {
    const slopes = activation === "prelu" ? { slopes: values([channels], 0.1, 0.5, 3) } : {};
    const bias = values([channels], -1, 1, 4);
    await compare(op(activation), { ...inputs, ...slopes }, tol.deep);
    await compare(op(activation), { ...inputs, ...slopes, bias }, tol.deep);
    await compareGradients(op(activation), { ...inputs, ...slopes, bias });
  });
});

describe("fused conv2d", () => {
  it("channels first: bias and slopes stand beside the channels", async () => {
    const op =
      (activation: Activation): Op =>
      ({ x, filter, ...rest }) =>
        tf.fused.conv2d({
          x: x as tf.Tensor4D,
          filter: filter as tf.Tensor4D,
          strides: 1,
          pad: "same",
          dataFormat: "NCHW",
          ...extra(activation, rest),
        });
    // tfjs measures the result as if the channels came last; this shape is right either way.
    const inputs = { x: values([2, 4, 4, 4]), filter: values([3, 3, 4, 4], -1, 1, 2) };
    const [bias, slopes] = [values([4], -1, 1, 4), values([4], 0.1, 0.5, 3)];
    await compare(op("prelu"), { ...inputs, bias, slopes }, tol.deep);
    await compare(op("relu"), { ...inputs, bias: values([1]) }, tol.deep);
    await compare(op("linear"), { ...inputs, bias: values([]) }, tol.deep);
  });
});
