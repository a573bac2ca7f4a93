import { int32 } from "@peftjs/core";
import { tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Inputs, Op } from "../harness.ts";
import { compare, compareGradients, onnx, run, values } from "../harness.ts";
import { compareWithDifferences } from "./finiteDifferences.ts";
import type { WindowCase } from "./windowCases.ts";
import { windowCases } from "./windowCases.ts";

type Pair = [number, number];
type Triple = [number, number, number];
type Image = tf.Tensor4D;
type Volume = tf.Tensor5D;

const RUNS = { numRuns: 12 };
const filters = fc.integer({ min: 1, max: 3 });

function tensors(c: WindowCase, outputs: number): Inputs {
  return {
    x: values([c.batch, ...c.input, c.channels], -2, 2, c.seed),
    filter: values([...c.size, c.channels, outputs], -2, 2, c.seed + 1),
  };
}

// Sums of up to 81 products in another order: tol.deep instead of tol.float32.
const check = (op: Op, inputs: Inputs): Promise<void> => compare(op, inputs, tol.deep);

const conv2d =
  (c: WindowCase): Op =>
  ({ x, filter }) =>
    tf.conv2d(x as Image, filter as Image, c.strides as Pair, c.pad as number, "NHWC", c.dilations as Pair, c.rounding);

const depthwise =
  (c: WindowCase): Op =>
  ({ x, filter }) =>
    tf.depthwiseConv2d(
      x as Image,
      filter as Image,
      c.strides as Pair,
      c.pad as number,
      "NHWC",
      c.dilations as Pair,
      c.rounding,
    );

/** tfjs defines no gradient of a dilated convolution. */
const isDilated = ({ dilations }: WindowCase): boolean => dilations.some((dilation) => dilation > 1);

describe("convolutions of images", () => {
  const cases = windowCases({ axes: 2, dilated: true, explicit: true, emptyWindows: true });

  it("conv2d and its gradients", async () => {
    await fc.assert(
      fc.asyncProperty(cases, filters, async (c, outputs) => {
        await check(conv2d(c), tensors(c, outputs));
        // tfjs loses the rounding mode on the way to the gradient: see below.
        if (!isDilated(c) && c.rounding !== "ceil" && c.rounding !== "round")
          await compareGradients(conv2d(c), tensors(c, outputs));
      }),
      RUNS,
    );
  });

  it("depthwiseConv2d and its gradients", async () => {
    await fc.assert(
      fc.asyncProperty(cases, filters, async (c, multiplier) => {
        await check(depthwise(c), tensors(c, multiplier));
        if (!isDilated(c)) await compareGradients(depthwise(c), tensors(c, multiplier));
      }),
      RUNS,
    );
  });

  it("with one number as padding and windows that are not square", async () => {
    const c: WindowCase = {
      batch: 2,
      input: [5, 6],
      channels: 2,
      size: [3, 1],
      strides: [2, 1],
      dilations: [1, 1],
      pad: 1,
      rounding: undefined,
      seed: 3,
    };
    await check(conv2d(c), tensors(c, 3));
    await compareGradients(conv2d(c), tensors(c, 3));
  });

  it("channels first", async () => {
    const channelsFirst =
      (c: WindowCase): Op =>
      ({ x, filter }) =>
        tf.conv2d(x as Image, filter as Image, c.strides as Pair, c.pad as number, "NCHW", c.dilations as Pair);
    const cases = windowCases({ axes: 2, dilated: true, emptyWindows: true, rounded: false });
    await fc.assert(
      fc.asyncProperty(cases, filters, async (c, outputs) => {
        const inputs = { ...tensors(c, outputs), x: values([c.batch, c.channels, ...c.input], -2, 2, c.seed) };
        await check(channelsFirst(c), inputs);
        if (!isDilated(c)) await compareGradients(channelsFirst(c), inputs);
      }),
      RUNS,
    );
  });

  it("depthwise with channels first equals channels last: tfjs's cpu kernel ignores the format", async () => {
    const [first, last] = (["NCHW", "NHWC"] as const).map((format): Op => ({ x, filter }) => {
      const perm = format === "NCHW" ? [0, 1, 2, 3] : [0, 2, 3, 1];
      const y = tf.depthwiseConv2d(tf.transpose(x as Image, perm), filter as Image, [1, 2], "same", format);
      return format === "NCHW" ? tf.transpose(y, [0, 2, 3, 1]) : y;
    }) as [Op, Op];
    const inputs = { x: values([2, 3, 5, 4]), filter: values([3, 2, 3, 2]) };
    const [actual, expected] = [await run(onnx, first, inputs), await run(onnx, last, inputs)];
    expect(actual.shape).toEqual(expected.shape);
    expect(actual.data).toBeAllClose(expected.data, tol.deep);
    await compare(last, inputs, tol.deep);
  });

  it("conv2dTranspose and its gradients", async () => {
    await fc.assert(
      fc.asyncProperty(windowCases({ axes: 2, explicit: true, emptyWindows: true }), filters, async (c, outputs) => {
        const inputShape = [c.batch, ...c.input, c.channels] as [number, number, number, number];
        const dy = { batch: c.batch, shape: resultShape(c, inputShape, outputs) };
        const op: Op = ({ x, filter }) =>
          tf.conv2dTranspose(x as Image, filter as Image, inputShape, c.strides as Pair, c.pad as number, c.rounding);
        const inputs = {
          x: values(dy.shape, -2, 2, c.seed),
          filter: values([...c.size, c.channels, outputs], -2, 2, c.seed + 1),
        };
        await check(op, inputs);
        await compareGradients(op, inputs);
      }),
      RUNS,
    );
  });

  it("gradients of a rounding that tfjs does not pass on: against finite differences", async () => {
    const op: Op = ({ x, filter }) => tf.conv2d(x as Image, filter as Image, 2, 0, "NHWC", 1, "ceil");
    await compareWithDifferences(op, { x: values([1, 4, 4, 2]), filter: values([3, 3, 2, 2]) });
  });

  it("says so where no window fits", async () => {
    const op: Op = ({ x, filter }) => tf.conv2d(x as Image, filter as Image, 1, "valid");
    const inputs = { x: values([1, 2, 4, 1]), filter: values([3, 3, 1, 1]) };
    await expect(run(onnx, op, inputs)).rejects.toThrow(
      'Conv2D: a window of [3, 3] with dilation [1, 1] is larger than the padded input, [2, 4] with pad "valid".',
    );
  });

  it("an empty batch", async () => {
    const c: WindowCase = {
      batch: 0,
      input: [4, 4],
      channels: 2,
      size: [2, 2],
      strides: [1, 1],
      dilations: [1, 1],
      pad: "same",
      rounding: undefined,
      seed: 1,
    };
    await check(conv2d(c), tensors(c, 3));
    await compareGradients(conv2d(c), tensors(c, 3));
    await compareGradients(depthwise(c), tensors(c, 3));
  });

  it("conv2dTranspose of int32", async () => {
    const op: Op = ({ x, filter }) => tf.conv2dTranspose(x as Image, filter as Image, [1, 3, 3, 1], 1, "valid");
    const [x, filter] = [
      int32(Int32Array.of(1, -2, 3, 4), [1, 2, 2, 1]),
      int32(Int32Array.of(5, 6, -7, 8), [2, 2, 1, 1]),
    ];
    await compare(op, { x, filter });
  });

  it("conv1d and separableConv2d", async () => {
    const conv1d: Op = ({ x, filter }) => tf.conv1d(x as tf.Tensor3D, filter as tf.Tensor3D, 2, "same");
    await check(conv1d, { x: values([2, 7, 3]), filter: values([3, 3, 4]) });
    await compareGradients(conv1d, { x: values([2, 7, 3]), filter: values([3, 3, 4]) });
    const pointwise: Op = ({ x, filter }) => tf.conv1d(x as tf.Tensor3D, filter as tf.Tensor3D, 1, "same");
    await check(pointwise, { x: values([2, 7, 3]), filter: values([1, 3, 4]) });
    await compareGradients(pointwise, { x: values([2, 7, 3]), filter: values([1, 3, 4]) });
    const separable: Op = ({ x, depth, point }) =>
      tf.separableConv2d(x as Image, depth as Image, point as Image, 1, "same");
    const inputs = { x: values([2, 5, 4, 3]), depth: values([3, 3, 3, 2]), point: values([1, 1, 6, 4]) };
    await check(separable, inputs);
    await compareGradients(separable, inputs);
  });
});

describe("convolutions of volumes", () => {
  const cases = windowCases({ axes: 3, dilated: true, emptyWindows: true, rounded: false, maxWindow: 2 }).filter(
    ({ pad }) => typeof pad === "string",
  );

  it("conv3d and its gradients", async () => {
    await fc.assert(
      fc.asyncProperty(cases, filters, async (c, outputs) => {
        const op: Op = ({ x, filter }) =>
          tf.conv3d(
            x as Volume,
            filter as Volume,
            c.strides as Triple,
            c.pad as "same",
            "NDHWC",
            c.dilations as Triple,
          );
        await check(op, tensors(c, outputs));
        if (!isDilated(c)) await compareGradients(op, tensors(c, outputs));
      }),
      RUNS,
    );
  });

  it("conv3dTranspose", async () => {
    const op: Op = ({ x, filter }) =>
      tf.conv3dTranspose(x as Volume, filter as Volume, [2, 4, 5, 3, 2], [2, 2, 1], "same");
    await check(op, { x: values([2, 2, 3, 3, 3]), filter: values([2, 3, 2, 2, 3]) });
  });
});

function resultShape(c: WindowCase, input: [number, number, number, number], outputs: number): number[] {
  const filter = [...(c.size as Pair), c.channels, outputs] as [number, number, number, number];
  return tf.backend_util.computeConv2DInfo(input, filter, c.strides as Pair, 1, c.pad as number, c.rounding).outShape;
}
