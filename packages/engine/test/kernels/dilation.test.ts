import { int32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Op } from "../harness.ts";
import { compare, compareGradients, onnx, run, values } from "../harness.ts";
import type { WindowCase } from "./windowCases.ts";
import { windowCases } from "./windowCases.ts";

type Pair = [number, number];

const dilation =
  ({ strides, pad, dilations }: Pick<WindowCase, "strides" | "pad" | "dilations">): Op =>
  ({ x, filter }) =>
    tf.dilation2d(x as tf.Tensor4D, filter as tf.Tensor3D, strides as Pair, pad as "same", dilations as Pair);

describe("dilation2d", () => {
  const cases = windowCases({ axes: 2, dilated: true }).filter(({ pad }) => typeof pad === "string");

  it("and its gradients", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (c) => {
        const inputs = {
          x: values([c.batch, ...c.input, c.channels], -2, 2, c.seed),
          filter: values([...c.size, c.channels], -2, 2, c.seed + 1),
        };
        await compare(dilation(c), inputs);
        await compareGradients(dilation(c), inputs);
      }),
      { numRuns: 12 },
    );
  });

  it("of windows without any element is tfjs's least number, and such a window has no gradient", async () => {
    const op = dilation({ strides: [1, 1], pad: "same", dilations: [2, 2] });
    const inputs = { x: values([1, 1, 1, 2]), filter: values([2, 2, 2]) };
    await compare(op, inputs);
    const grads = tf.grads((x, filter) => tf.sum(op({ x, filter })));
    const inputGradient: Op = ({ x, filter }) => grads([x as tf.Tensor, filter as tf.Tensor])[0] as tf.Tensor;
    const { data } = await run(onnx, inputGradient, inputs);
    expect(Array.from(data)).toEqual([0, 0]);
  });

  it("gives the gradient to the first of several greatest", async () => {
    const inputs = { x: values([1, 4, 4, 2], 1, 1), filter: values([2, 2, 2], 0, 0) };
    await compareGradients(dilation({ strides: [1, 1], pad: "same", dilations: [1, 1] }), inputs);
  });

  it("int32", async () => {
    const x = int32(Int32Array.of(-7, 4, 2 ** 24 + 1, -9, 5, 3, -1, 0, 9), [1, 3, 3, 1]);
    const filter = int32(Int32Array.of(-3, 1, 2, -8), [2, 2, 1]);
    await compare(dilation({ strides: [1, 1], pad: "same", dilations: [1, 1] }), { x, filter });
  });
});
