import { float32, int32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, it } from "vitest";
import type { Op } from "../harness.ts";
import { compare, compareGradients, values } from "../harness.ts";
import { compareWithDifferences } from "./finiteDifferences.ts";
import type { WindowCase } from "./windowCases.ts";
import { windowCases } from "./windowCases.ts";

type Pair = [number, number];
type Triple = [number, number, number];

const RUNS = { numRuns: 12 };
const images = windowCases({ axes: 2, explicit: true });
const volumes = windowCases({ axes: 3 });

const shapeOf = (c: WindowCase): number[] => [c.batch, ...c.input, c.channels];
/** Whole numbers from 0 to 2: most windows have several greatest elements. */
const ties = (c: WindowCase) => {
  const { data, shape, dtype } = values(shapeOf(c), 0, 3, c.seed);
  return { data: Float32Array.from(data, Math.floor), shape, dtype };
};

const pool2d =
  (op: typeof tf.maxPool, c: WindowCase): Op =>
  ({ x }) =>
    op(x as tf.Tensor4D, c.size as Pair, c.strides as Pair, c.pad as number, c.rounding);

const pool3d =
  (op: typeof tf.maxPool3d, c: WindowCase): Op =>
  ({ x }) =>
    op(x as tf.Tensor5D, c.size as Triple, c.strides as Triple, c.pad as number, c.rounding);

/** Values at least 0.1 apart: none becomes the greatest by a step of finite differences. */
function distinct(shape: readonly number[]) {
  const { data, dtype } = values(shape);
  const rank = [...data.keys()].sort((a, b) => (data[a] as number) - (data[b] as number));
  const spaced = new Float32Array(data.length);
  rank.forEach((index, place) => (spaced[index] = place / 10));
  return { data: spaced, shape, dtype };
}

/** The gradient of an image's pooling does not know of the rounding in tfjs, and the gradient of the mean not of the padding. */
const isRounded = ({ rounding }: WindowCase): boolean => rounding === "ceil" || rounding === "round";

describe("pooling of images", () => {
  it("maxPool and its gradient, also where several elements are the greatest", async () => {
    await fc.assert(
      fc.asyncProperty(images, async (c) => {
        const op = pool2d(tf.maxPool, c);
        await compare(op, { x: values(shapeOf(c), -2, 2, c.seed) });
        if (isRounded(c)) return;
        await compareGradients(op, { x: values(shapeOf(c), -2, 2, c.seed) });
        await compareGradients(op, { x: ties(c) });
      }),
      RUNS,
    );
  });

  it("avgPool and its gradient", async () => {
    await fc.assert(
      fc.asyncProperty(images, async (c) => {
        const op = pool2d(tf.avgPool, c);
        await compare(op, { x: values(shapeOf(c), -2, 2, c.seed) });
        if (c.pad === "valid" || c.pad === 0) await compareGradients(op, { x: values(shapeOf(c), -2, 2, c.seed) });
      }),
      RUNS,
    );
  });

  it("gradients that tfjs gets wrong, of padded means and of rounded sizes, against finite differences", async () => {
    const op =
      (pool: typeof tf.maxPool, pad: "same" | 0): Op =>
      ({ x }) =>
        pool(x as tf.Tensor4D, 3, 2, pad, pad === 0 ? "ceil" : undefined);
    const x = distinct([1, 4, 5, 2]);
    await compareWithDifferences(op(tf.avgPool, "same"), { x });
    await compareWithDifferences(op(tf.avgPool, 0), { x });
    await compareWithDifferences(op(tf.maxPool, 0), { x });
  });

  it("maxPoolWithArgmax", async () => {
    await fc.assert(
      fc.asyncProperty(
        windowCases({ axes: 2, rounded: false }),
        fc.boolean(),
        fc.constantFrom("result", "indexes"),
        async (c, includeBatch, result) => {
          const op: Op = ({ x }) =>
            tf.maxPoolWithArgmax(x as tf.Tensor4D, c.size as Pair, c.strides as Pair, c.pad as number, includeBatch)[
              result
            ] as tf.Tensor;
          await compare(op, { x: values(shapeOf(c), -2, 2, c.seed) });
          await compare(op, { x: ties(c) });
        },
      ),
      RUNS,
    );
  });

  it("tf.pool and tensors of rank 3", async () => {
    for (const type of ["avg", "max"] as const) {
      const op: Op = ({ x }) => tf.pool(x as tf.Tensor3D, [2, 3], type, "valid", 1, [1, 2]);
      await compare(op, { x: values([5, 6, 2]) });
      await compareGradients(op, { x: values([5, 6, 2]) });
    }
  });

  it("NaN is never the greatest, infinities are numbers", async () => {
    const x = float32([NaN, 1, 1, NaN, NaN, Infinity, -Infinity, 2, NaN, NaN], [1, 1, 10, 1]);
    const windows = [1, 2] as [number, number];
    const images: Op = ({ x: t }) => tf.maxPool(t as tf.Tensor4D, windows, windows, "valid");
    const volumes: Op = ({ x: t }) =>
      tf.maxPool3d(
        tf.slice(tf.expandDims(t as tf.Tensor4D, 1), 0, [1, 1, 1, 8, 1]) as tf.Tensor5D,
        [1, ...windows],
        [1, ...windows],
        "valid",
      );
    await compare(images, { x });
    await compare(volumes, { x });
    const numbers = { x: float32([NaN, 1, 1, NaN, NaN, Infinity, -Infinity, 2], [1, 1, 8, 1]) };
    await compareGradients(images, numbers);
    await compareGradients(volumes, numbers);
    const padded: Op = ({ x: t }) => tf.avgPool(t as tf.Tensor4D, windows, 1, "same");
    await compare(padded, { x });
  });

  it("an empty batch", async () => {
    for (const pool of [tf.maxPool, tf.avgPool]) {
      const op: Op = ({ x }) => pool(x as tf.Tensor4D, 2, 1, "same");
      await compare(op, { x: values([0, 4, 4, 2]) });
      await compareGradients(op, { x: values([0, 4, 4, 2]) });
    }
  });

  it("int32", async () => {
    const x = int32(Int32Array.of(-7, 2 ** 24 + 1, 2 ** 24, -(2 ** 31), 5, 3, -1, 0, 9), [1, 3, 3, 1]);
    await compare(({ x: t }) => tf.maxPool(t as tf.Tensor4D, 2, 1, "same"), { x });
    await compare(({ x: t }) => tf.maxPoolWithArgmax(t as tf.Tensor4D, 2, 1, "same")["indexes"] as tf.Tensor, { x });
    await compare(({ x: t }) => tf.maxPool3d(tf.expandDims(t as tf.Tensor4D, 1) as tf.Tensor5D, 2, 1, "same"), { x });
  });
});

describe("pooling of volumes", () => {
  it("maxPool3d and its gradient, also where several elements are the greatest", async () => {
    await fc.assert(
      fc.asyncProperty(volumes, async (c) => {
        const op = pool3d(tf.maxPool3d, c);
        await compare(op, { x: values(shapeOf(c), -2, 2, c.seed) });
        // tfjs numbers the elements of a window by its height where it means its width.
        if (c.size[1] !== c.size[2]) return;
        await compareGradients(op, { x: values(shapeOf(c), -2, 2, c.seed) });
        await compareGradients(op, { x: ties(c) });
      }),
      RUNS,
    );
  });

  it("avgPool3d and its gradient", async () => {
    await fc.assert(
      fc.asyncProperty(volumes, async (c) => {
        const op = pool3d(tf.avgPool3d, c);
        await compare(op, { x: values(shapeOf(c), -2, 2, c.seed) });
        if (c.pad === "valid" || c.pad === 0) await compareGradients(op, { x: values(shapeOf(c), -2, 2, c.seed) });
      }),
      RUNS,
    );
  });

  it("gradients that tfjs gets wrong, of padded means and of windows that are not square, against finite differences", async () => {
    const x = distinct([1, 3, 2, 4, 1]);
    await compareWithDifferences(({ x: t }) => tf.avgPool3d(t as tf.Tensor5D, 2, 2, "same"), { x });
    await compareWithDifferences(({ x: t }) => tf.maxPool3d(t as tf.Tensor5D, [2, 1, 3], 1, "same"), { x });
  });
});
