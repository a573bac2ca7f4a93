import { float32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, it } from "vitest";
import type { Inputs, Op } from "../harness.ts";
import { compare, compareGradients, values } from "../harness.ts";

const RUNS = { numRuns: 15 };

describe("batchNorm", () => {
  const batchNorm: Op = ({ x, mean, variance, offset, scale }) =>
    tf.batchNorm(
      x as tf.Tensor4D,
      mean as tf.Tensor1D,
      variance as tf.Tensor1D,
      offset as tf.Tensor1D,
      scale as tf.Tensor1D,
      0.01,
    );

  it("of tensors of rank 2 to 4, with and without offset and scale, and its gradients", async () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(shapes, fc.boolean(), fc.boolean(), async (shape, withOffset, withScale) => {
        const channels = [shape.at(-1) as number];
        const inputs: Inputs = {
          x: values(shape),
          mean: values(channels, -1, 1, 2),
          variance: values(channels, 0.5, 2, 3),
          ...(withOffset ? { offset: values(channels, -2, 2, 4) } : {}),
          ...(withScale ? { scale: values(channels, -2, 2, 5) } : {}),
        };
        await compare(batchNorm, inputs);
        // Without one of them tfjs cannot differentiate the operation: its tape fails on an input that is not there.
        if (withOffset && withScale) await compareGradients(batchNorm, inputs);
      }),
      RUNS,
    );
  });

  it("with moments for every element", async () => {
    const shape = [2, 3, 2];
    const inputs = {
      x: values(shape),
      mean: values(shape, -1, 1, 2),
      variance: values(shape, 0.5, 2, 3),
      offset: values(shape, -2, 2, 4),
      scale: values(shape, -2, 2, 5),
    };
    await compare(batchNorm, inputs);
    await compareGradients(batchNorm, inputs);
  });
});

describe("localResponseNormalization", () => {
  it("and its gradient", async () => {
    const cases = fc.record({
      shape: fc.tuple(...[3, 3, 3, 6].map((max) => fc.integer({ min: 1, max }))),
      radius: fc.integer({ min: 0, max: 4 }),
      bias: fc.constantFrom(0.5, 1, 2),
      alpha: fc.constantFrom(0.1, 1),
      beta: fc.constantFrom(0.5, 0.75, 1),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ shape, radius, bias, alpha, beta }) => {
        const op: Op = ({ x }) => tf.localResponseNormalization(x as tf.Tensor4D, radius, bias, alpha, beta);
        await compare(op, { x: values(shape) });
        await compareGradients(op, { x: values(shape) });
      }),
      RUNS,
    );
    await compare(({ x }) => tf.localResponseNormalization(x as tf.Tensor3D), { x: values([2, 3, 7]) });
  });

  it("NaN and infinity reach their neighbours only", async () => {
    const x = float32([NaN, 1, 2, 3, 4, Infinity], [1, 1, 1, 6]);
    const op: Op = ({ x: t }) => tf.localResponseNormalization(t as tf.Tensor4D, 1);
    await compare(op, { x });
    await compareGradients(op, { x });
  });
});
