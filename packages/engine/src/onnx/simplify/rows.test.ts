import { gelu, int32, layerNorm } from "@peftjs/core";
import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Graph } from "../graph.ts";
import { mergeEqualCalls } from "./merge.ts";
import { shortenChains } from "./moves.ts";
import { narrowRows } from "./narrowRows.ts";
import { applyPass } from "./rewrite.ts";
import { simplify } from "./simplify.ts";
import type { Inputs, Named, Op } from "./testing.ts";
import { evaluate, kernels, productWork, random, traced, withGradients } from "./testing.ts";
import { skipZeroRows } from "./zeroRows.ts";

installMatchers();

const [BATCH, LENGTH, WIDTH, HEADS] = [2, 6, 8, 2];

/** A post-LN block over all rows, as somebody writes it who does not think of the engine. */
function block(x: tf.Tensor, w: (name: string) => tf.Tensor): tf.Tensor {
  const rows = (t: tf.Tensor): tf.Tensor2D => tf.reshape(t, [BATCH * LENGTH, -1]);
  const linear = (t: tf.Tensor, name: string): tf.Tensor =>
    tf.add(tf.matMul(rows(t), w(`${name}.w`) as tf.Tensor2D, false, true), w(`${name}.b`));
  const heads = (t: tf.Tensor): tf.Tensor =>
    tf.transpose(tf.reshape(t, [BATCH, LENGTH, HEADS, WIDTH / HEADS]), [0, 2, 1, 3]);
  const [q, k, v] = ["q", "k", "v"].map((name) => heads(linear(x, name))) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const probabilities = tf.softmax(tf.mul(tf.matMul(q, k, false, true), 0.5));
  const context = tf.reshape(tf.transpose(tf.matMul(probabilities, v), [0, 2, 1, 3]), [BATCH, LENGTH, WIDTH]);
  const attended = tf.reshape(linear(context, "o"), [BATCH, LENGTH, WIDTH]);
  const middle = layerNorm(tf.add(x, attended), w("n1.w"), w("n1.b"), 1e-5);
  const inner = gelu(linear(middle, "up"));
  const outer = tf.reshape(linear(inner, "down"), [BATCH, LENGTH, WIDTH]);
  return layerNorm(tf.add(middle, outer), w("n2.w"), w("n2.b"), 1e-5);
}

const SHAPES: Record<string, number[]> = {
  ...Object.fromEntries(
    ["q", "k", "v", "o"].flatMap((n) => [
      [`${n}.w`, [WIDTH, WIDTH]],
      [`${n}.b`, [WIDTH]],
    ]),
  ),
  ...{ "up.w": [4 * WIDTH, WIDTH], "up.b": [4 * WIDTH], "down.w": [WIDTH, 4 * WIDTH], "down.b": [WIDTH] },
  ...{ "n1.w": [WIDTH], "n1.b": [WIDTH], "n2.w": [WIDTH], "n2.b": [WIDTH] },
};

function weights(): Inputs {
  const named = [0, 1].flatMap((layer) =>
    Object.entries(SHAPES).map(([name, shape], i) => [`${layer}.${name}`, random(shape, 10 * layer + i + 2)] as const),
  );
  return { x: random([BATCH, LENGTH, WIDTH]), ...Object.fromEntries(named) };
}

const twoLayers =
  (pick: (y: tf.Tensor) => tf.Tensor) =>
  (inputs: Named): tf.Tensor => {
    const layer = (x: tf.Tensor, i: number): tf.Tensor => block(x, (name) => inputs[`${i}.${name}`] as tf.Tensor);
    return pick(layer(layer(inputs["x"] as tf.Tensor, 0), 1));
  };

/** The ways in which position 0 of every sequence is taken. */
const FIRST: Record<string, (y: tf.Tensor) => tf.Tensor> = {
  slice: (y) => tf.reshape(tf.slice(y, [0, 0, 0], [BATCH, 1, WIDTH]), [BATCH, WIDTH]),
  gather: (y) => tf.gather(y, tf.tensor1d([0], "int32"), 1),
  unstack: (y) => tf.unstack(y, 1)[0] as tf.Tensor,
};

const work = (op: Op): { before: number; after: number } => {
  const graph = traced(op, weights());
  return { before: productWork(graph), after: productWork(simplify(graph)) };
};

async function expectSame(graph: Graph, other: Graph, inputs: Inputs): Promise<void> {
  const [expected, actual] = [await evaluate(graph, inputs), await evaluate(other, inputs)];
  for (const [name, data] of Object.entries(expected))
    expect(actual[name]).toBeAllClose(data as Float32Array, tol.deep);
}

describe("two blocks of which the first token leaves", () => {
  // Products of a block, in multiplications: the projections, the scores and contexts, and the feed-forward.
  const rows = BATCH * LENGTH;
  const projection = rows * WIDTH * WIDTH;
  const attention = 2 * rows * WIDTH * LENGTH;
  const whole = 4 * projection + attention + 8 * projection;
  // Keys and values of all rows; the rest for one row per sequence.
  const last = 2 * projection + (attention + 10 * projection) / LENGTH;

  it.each(Object.entries(FIRST))("are computed for that token alone: %s", async (_, pick) => {
    const op = twoLayers(pick);
    expect(work(op)).toEqual({ before: 2 * whole, after: whole + last });
    const graph = traced(op, weights());
    await expectSame(graph, simplify(graph), weights());
  });

  it.each(Object.entries(FIRST))("have a gradient that is computed for that token alone: %s", async (_, pick) => {
    const op = withGradients(twoLayers(pick));
    expect(work(op)).toEqual({ before: 6 * whole, after: 3 * (whole + last) });
    const graph = traced(op, weights());
    await expectSame(graph, simplify(graph), weights());
  });
});

describe("narrow-rows", () => {
  const inputs = { x: random([2, 4, 6]), w: random([6, 6], 2), places: int32([2, 2], [2]) };
  const rowsOf = (y: tf.Tensor, from: number, count: number): tf.Tensor => tf.slice(y, [0, from, 0], [2, count, 6]);
  const product = (x: tf.Tensor, w: tf.Tensor): tf.Tensor =>
    tf.reshape(tf.matMul(tf.reshape(x, [8, 6]), w as tf.Tensor2D), [2, 4, 6]);
  const narrowed = async (op: Op): Promise<{ kernels: string[]; work: number }> => {
    const graph = traced(op, inputs);
    const expected = await evaluate(graph, inputs);
    const simplified = [narrowRows, shortenChains, mergeEqualCalls()].reduce<Graph>(applyPass, graph);
    const actual = await evaluate(simplified, inputs);
    for (const [name, data] of Object.entries(expected))
      expect(actual[name]).toBeAllClose(data as Float32Array, tol.float32);
    return { kernels: kernels(simplified), work: productWork(simplified) };
  };

  it("computes the rows that are read, whoever reads them", async () => {
    const op = ({ x, w }: Named): Named => {
      const y = tf.tanh(product(x!, w!));
      return { y: rowsOf(y, 1, 1), z: tf.exp(tf.slice(tf.reshape(y, [2, 4, 3, 2]), [0, 1, 0, 0], [2, 1, 3, 2])) };
    };
    expect((await narrowed(op)).work).toBe(2 * 36);
  });

  it("computes the rows that are looked up, as often as they are", async () => {
    const op = ({ x, w, places }: Named): tf.Tensor => tf.gather(tf.exp(product(x!, w!)), places as tf.Tensor1D, 1);
    expect(await narrowed(op)).toEqual({
      kernels: ["GatherV2", "Reshape", "BatchMatMul", "Reshape", "Exp"],
      work: 4 * 36,
    });
  });

  it("computes all rows where different ones are read, more than half of them, or all", async () => {
    const whole = 8 * 36;
    const read =
      (pick: (y: tf.Tensor) => Named): Op =>
      ({ x, w }) =>
        pick(product(x!, w!));
    expect((await narrowed(read((y) => ({ a: rowsOf(y, 0, 1), b: rowsOf(y, 1, 1) })))).work).toBe(whole);
    expect((await narrowed(read((y) => ({ a: rowsOf(y, 0, 3) })))).work).toBe(whole);
    expect((await narrowed(read((y) => ({ a: rowsOf(y, 0, 1), b: tf.sum(y) })))).work).toBe(whole);
    expect((await narrowed(read((y) => ({ a: rowsOf(y, 0, 1), y })))).work).toBe(whole);
  });

  it("stops where rows depend on each other, and at gates", async () => {
    const cumulative = ({ x }: Named): tf.Tensor => rowsOf(tf.cumsum(tf.exp(x!), 1), 0, 1);
    expect((await narrowed(cumulative)).kernels).toEqual(["Exp", "Cumsum", "Slice"]);
    expect((await narrowed(({ x }) => tf.slice(tf.softmax(x!), [0, 0, 0], [2, 4, 1]))).kernels).toEqual([
      "Softmax",
      "Slice",
    ]);
    expect((await narrowed(({ x }) => rowsOf(tf.softmax(x!), 0, 1))).kernels).toEqual(["Slice", "Softmax"]);
    const gated = ({ x }: Named): tf.Tensor =>
      rowsOf(tf.engine().runKernel("PeftAfter", { x: tf.exp(x!), token: x! }) as tf.Tensor, 0, 1);
    expect((await narrowed(gated)).kernels).toEqual(["Exp", "PeftAfter", "Slice"]);
  });
});

describe("skip-zero-rows", () => {
  const inputs = { x: random([2, 1, 6]), y: random([2, 4, 6], 2), w: random([6, 6], 3), b: random([6], 4) };
  const padded = (x: tf.Tensor): tf.Tensor =>
    tf.pad(x, [
      [0, 0],
      [1, 2],
      [0, 0],
    ]);
  const rows = (x: tf.Tensor): tf.Tensor2D => tf.reshape(x, [-1, 6]);
  const work = async (op: (inputs: Named) => tf.Tensor): Promise<number> => {
    const graph = traced(op, inputs);
    const expected = await evaluate(graph, inputs);
    const simplified = applyPass(graph, skipZeroRows);
    expect((await evaluate(simplified, inputs))["y"]).toBeAllClose(expected["y"] as Float32Array, tol.float32);
    return productWork(simplified);
  };

  it("multiplies the rows that are not zero", async () => {
    expect(await work(({ x, w }) => tf.neg(tf.matMul(rows(padded(x!)), w as tf.Tensor2D)))).toBe(2 * 36);
    expect(await work(({ x, y, w }) => tf.matMul(rows(tf.mul(padded(x!), y!)), w as tf.Tensor2D))).toBe(2 * 36);
  });

  it("sums over the rows that are not zero", async () => {
    expect(await work(({ x, y }) => tf.matMul(rows(padded(x!)), rows(y!), true))).toBe(2 * 36);
    expect(await work(({ x, y }) => tf.matMul(rows(y!), rows(padded(x!)), true))).toBe(2 * 36);
    expect(await work(({ x, w }) => tf.matMul(tf.sum(padded(x!), 1), w as tf.Tensor2D))).toBe(2 * 36);
  });

  it("adds what is zero at the same rows, and writes the zeros for everything else", async () => {
    const both = ({ x, w }: Named): tf.Tensor =>
      tf.matMul(rows(tf.add(padded(x!), padded(tf.exp(x!)))), w as tf.Tensor2D);
    expect(await work(both)).toBe(2 * 36);
    expect(await work(({ x, y, w }) => tf.matMul(rows(tf.add(padded(x!), y!)), w as tf.Tensor2D))).toBe(8 * 36);
    expect(await work(({ x, b, w }) => tf.matMul(rows(tf.add(padded(x!), b!)), w as tf.Tensor2D))).toBe(8 * 36);
    expect(await work(({ x, w }) => tf.matMul(rows(tf.exp(padded(x!))), w as tf.Tensor2D))).toBe(8 * 36);
    expect(
      await work(({ x, w }) =>
        tf.matMul(
          rows(
            tf.pad(
              x!,
              [
                [0, 0],
                [1, 2],
                [0, 0],
              ],
              1,
            ),
          ),
          w as tf.Tensor2D,
        ),
      ),
    ).toBe(8 * 36);
  });

  it("multiplies what is zero at other rows, or added up at one row, as a whole", async () => {
    const elsewhere = (x: tf.Tensor): tf.Tensor =>
      tf.pad(x, [
        [0, 0],
        [0, 3],
        [0, 0],
      ]);
    await work(({ x }) => tf.mul(padded(x!), elsewhere(x!)));
    const named = { y: random([6, 3]), places: int32([2, 2], [2]) };
    const squared = ({ y, places }: Named): tf.Tensor => {
      const looked = tf.gather(y!, places as tf.Tensor1D);
      const sums = tf.unsortedSegmentSum(tf.exp(looked), places as tf.Tensor1D, 6);
      return tf.mul(sums, sums);
    };
    const graph = traced(squared, named);
    const expected = await evaluate(graph, named);
    expect(await evaluate(applyPass(graph, skipZeroRows), named)).toEqual(expected);
  });

  it("adds up the gradients of a row that was looked up twice", async () => {
    const named = { y: inputs.y, w: inputs.w, places: int32([2, 2], [2]) };
    const op = withGradients(({ y, w, places }) =>
      tf.gather(tf.tanh(tf.reshape(tf.matMul(rows(y!), w as tf.Tensor2D), [2, 4, 6])), places as tf.Tensor1D, 1),
    );
    const graph = traced(op, named);
    const expected = await evaluate(graph, named);
    const before = productWork(graph);
    const simplified = simplify(graph);
    expect(productWork(simplified)).toBe(before / 2);
    const actual = await evaluate(simplified, named);
    for (const [name, data] of Object.entries(expected))
      expect(actual[name], name).toBeAllClose(data as Float32Array, tol.deep);
  });
});
