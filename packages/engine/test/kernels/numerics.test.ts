import type { HostTensor } from "@peftjs/core";
import { float32, int32 } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Op } from "../harness.ts";
import { onnx, run } from "../harness.ts";

/** Float32 to a few units in the last place, however small the number. */
const RELATIVE = { absolute: 0, relative: 1e-6 };

const list = (...values: number[]): HostTensor => float32(values, [values.length]);
const ints = (...values: number[]): HostTensor => int32(values, [values.length]);

async function values(op: (...args: tf.Tensor[]) => tf.Tensor, ...inputs: readonly HostTensor[]): Promise<HostTensor> {
  const call: Op = (named) => op(...Object.values(named));
  return run(onnx, call, Object.fromEntries(inputs.map((input, i) => [`x${i}`, input])));
}

describe("numbers of float32 near the edges of what they can say", () => {
  const tiny = [1e-20, 3e-12, 1e-8, 1e-7, 1e-6, 1e-4, 0.01, 0.3, 0.49, 0.51, 0.7];

  it.each([
    { name: "expm1", op: tf.expm1, exact: Math.expm1, x: [...tiny, ...tiny.map((v) => -v), 20, -20, 80, 200, -200] },
    { name: "log1p", op: tf.log1p, exact: Math.log1p, x: [...tiny, ...tiny.map((v) => -v), -0.999, -1, 20, 1e30] },
  ])("$name keeps its digits near 0", async ({ op, exact, x }) => {
    const input = list(...x, Infinity, -Infinity, NaN);
    const { data } = await values(op, input);
    expect(data).toBeAllClose(Float32Array.from(input.data, exact), RELATIVE);
  });

  it("atan2 tells −0 from 0, and knows infinities", async () => {
    const places = [0, -0, 1, -1, 1e-20, -1e20, Infinity, -Infinity, NaN];
    const pairs = places.flatMap((y) => places.map((x) => [y, x] as const));
    const { data } = await values(tf.atan2, list(...pairs.map(([y]) => y)), list(...pairs.map(([, x]) => x)));
    expect(data).toBeAllClose(
      Float32Array.from(pairs, ([y, x]) => Math.atan2(y, x)),
      RELATIVE,
    );
  });

  it("softplus neither overflows nor rounds to 0", async () => {
    const { data } = await values(tf.softplus, list(1000, 90, 20, 0, -20, -80, Infinity, -Infinity));
    expect(data).toBeAllClose([1000, 90, 20 + Math.exp(-20), Math.log(2), Math.exp(-20), Math.exp(-80), Infinity, 0], {
      ...RELATIVE,
      // What is smaller than the smallest normal float32 is 0.
      absolute: 1e-37,
    });
  });

  it("rounds halves to the even neighbour", async () => {
    expect((await values(tf.round, list(0.5, 1.5, 2.5, -0.5, -1.5, -2.5))).data).toBeAllClose(
      [0, 2, 2, 0, -2, -2],
      tol.exact,
    );
  });

  it("NaN is the largest and the smallest, wherever it stands", async () => {
    for (let place = 0; place < 33; place++) {
      const x = list(...Array.from({ length: 33 }, (_, i) => (i === place ? NaN : i)));
      expect((await values((v) => tf.stack([tf.max(v), tf.min(v)]), x)).data).toBeAllClose([NaN, NaN], tol.exact);
    }
    const infinite = list(Infinity, -Infinity, 1e38, 3e38);
    expect((await values((v) => tf.stack([tf.max(v), tf.min(v)]), infinite)).data).toBeAllClose(
      [Infinity, -Infinity],
      tol.exact,
    );
  });

  it("NaN goes through clips and rectifiers", async () => {
    for (const op of [
      tf.relu,
      tf.relu6,
      (x: tf.Tensor) => tf.clipByValue(x, -1, 1),
      (x: tf.Tensor) => tf.maximum(x, 0),
    ]) {
      expect((await values(op as (x: tf.Tensor) => tf.Tensor, list(NaN))).data).toBeAllClose([NaN], tol.exact);
    }
    expect((await values(tf.sign, list(NaN))).data).toBeAllClose([0], tol.exact);
  });
});

describe("whole numbers", () => {
  it("divides exactly, rounds down, and answers 0 to a division by 0", async () => {
    const [a, b] = [ints(7, -7, 7, -7, 16_777_217, 2_147_483_647, 5, 0), ints(2, 2, -2, -2, 1, -1, 0, 0)];
    expect((await values(tf.floorDiv, a, b)).data).toBeAllClose(
      [3, -4, -4, 3, 16_777_217, -2_147_483_647, 0, 0],
      tol.exact,
    );
    expect((await values(tf.mod, a, b)).data).toBeAllClose([1, 1, -1, -1, 0, 0, 0, 0], tol.exact);
  });

  it("keeps large ones through operations that have nothing to do with floats", async () => {
    const x = ints(16_777_217, -2_147_483_647);
    for (const op of [tf.round, tf.relu, tf.abs, tf.neg] as ((x: tf.Tensor) => tf.Tensor)[]) {
      const { data } = await values((v) => op(op(v)), x);
      const expected =
        op === tf.relu ? [16_777_217, 0] : op === tf.abs ? [16_777_217, 2_147_483_647] : Array.from(x.data);
      expect(data).toBeAllClose(expected, tol.exact);
    }
    expect((await values((v) => tf.sum(v), x)).data).toBeAllClose([16_777_217 - 2_147_483_647], tol.exact);
  });
});

describe("what tfjs's cpu kernels cannot be asked", () => {
  it("all of no values are true, none is, the largest is −∞", async () => {
    const none = list();
    const truths = (x: tf.Tensor): tf.Tensor => tf.stack([tf.all(tf.greater(x, 0)), tf.any(tf.greater(x, 0))]);
    expect((await values(truths, none)).data).toBeAllClose([1, 0], tol.exact);
    expect((await values((x) => tf.stack([tf.max(x), tf.min(x)]), none)).data).toBeAllClose(
      [-Infinity, Infinity],
      tol.exact,
    );
  });

  it("counts the axis of cumulative sums and products from the end", async () => {
    const x = float32([1, 2, 3, 4, 5, 6], [2, 3]);
    expect((await values((v) => tf.cumsum(v, -1), x)).data).toBeAllClose([1, 3, 6, 4, 9, 15], tol.exact);
    expect((await values((v) => tf.cumprod(v, -2), x)).data).toBeAllClose([1, 2, 3, 4, 10, 18], tol.exact);
  });

  it("adds the rows of a segment, of every type; rows of no segment count for nothing", async () => {
    const sums = (x: tf.Tensor, ids: tf.Tensor): tf.Tensor => tf.unsortedSegmentSum(x, ids as tf.Tensor1D, 2);
    const ids = ints(1, -1, 1, 2, 0);
    expect((await values(sums, list(1, NaN, 3, Infinity, 5), ids)).data).toBeAllClose([5, 4], tol.exact);
    expect(await values(sums, ints(1, 2, 3, 4, 5), ids)).toMatchObject({ dtype: "int32", data: Int32Array.of(5, 4) });
  });

  it("adds many rows at one place with several threads", async () => {
    const engine = await createEngine({ kind: "onnx", threads: 4 });
    const rows = float32(new Float32Array(50_000).fill(1), [50_000]);
    const sum: Op = ({ rows: x, ids }) => tf.unsortedSegmentSum(x as tf.Tensor, ids as tf.Tensor1D, 3);
    const { data } = await run(engine, sum, { rows, ids: int32(new Int32Array(50_000).fill(1), [50_000]) });
    expect(data).toBeAllClose([0, 50_000, 0], tol.exact);
  });

  it("depthToSpace of channels that come first", async () => {
    const x = float32(
      Float32Array.from({ length: 48 }, (_, i) => i),
      [1, 8, 2, 3],
    );
    const first = (v: tf.Tensor): tf.Tensor => tf.depthToSpace(v as tf.Tensor4D, 2, "NCHW");
    const last = (v: tf.Tensor): tf.Tensor =>
      tf.transpose(tf.depthToSpace(tf.transpose(v, [0, 2, 3, 1]) as tf.Tensor4D, 2), [0, 3, 1, 2]);
    expect((await values(first, x)).data).toBeAllClose((await values(last, x)).data, tol.exact);
  });

  it("denseBincount of one row says which values occur", async () => {
    const counts = (x: tf.Tensor, weights: tf.Tensor): tf.Tensor =>
      tf.denseBincount(x as tf.Tensor1D, weights as tf.Tensor1D, 4, true);
    expect((await values(counts, ints(1, 1, 3, 9), list())).data).toBeAllClose([0, 1, 0, 1], tol.exact);
  });
});
