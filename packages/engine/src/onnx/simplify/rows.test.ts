import { gelu, layerNorm } from "@peftjs/core";
import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Graph } from "../graph.ts";
import { simplify } from "./simplify.ts";
import type { Inputs, Named, Op } from "./testing.ts";
import { evaluate, productWork, random, traced, withGradients } from "./testing.ts";

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
