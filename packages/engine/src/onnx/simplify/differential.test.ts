import { gelu, int32, layerNorm } from "@peftjs/core";
import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { simplify } from "./simplify.ts";
import type { Inputs, Named } from "./testing.ts";
import { evaluate, random, traced, withGradients } from "./testing.ts";

installMatchers();

const [BATCH, LENGTH, WIDTH] = [2, 4, 4];

const INPUTS: Inputs = {
  x: random([BATCH, LENGTH, WIDTH], 3),
  y: random([BATCH, LENGTH, WIDTH], 4),
  w: random([WIDTH, WIDTH], 5),
  v: random([WIDTH, WIDTH], 6),
  gamma: random([WIDTH], 7),
  // Places, of which one occurs twice.
  places: int32([2, 2], [2]),
};

/** All values are [2, t, 4] with t = 1, 2 or 4; `a` is the last one, `b` an earlier one. */
type Step = (a: tf.Tensor, b: tf.Tensor, inputs: Named) => tf.Tensor;

const rows = (a: tf.Tensor): tf.Tensor2D => tf.reshape(a, [-1, WIDTH]);
const fits = (a: tf.Tensor, b: tf.Tensor): tf.Tensor => (b.shape[1] === a.shape[1] || b.shape[1] === 1 ? b : a);
const product = (a: tf.Tensor, w: tf.Tensor, transpose: boolean): tf.Tensor =>
  tf.reshape(tf.matMul(rows(a), w as tf.Tensor2D, false, transpose), a.shape);

const STEPS: readonly Step[] = [
  (a) => tf.tanh(a),
  (a) => tf.neg(a),
  (a) => tf.mul(a, 0.5),
  (a) => tf.div(tf.mul(a, 3), 4),
  (a) => tf.add(tf.mul(a, 1), tf.zerosLike(a)),
  (a, b) => tf.add(a, tf.neg(fits(a, b))),
  (a, b) => tf.mul(a, fits(a, b)),
  (a, b) => tf.addN([a, b.shape[1] === a.shape[1] ? b : a, a]),
  (a, b) => tf.sub(a, tf.mul(fits(a, b), tf.onesLike(a))),
  (a, _, { w }) => product(a, w!, true),
  (a, _, { w, v }) => tf.add(product(a, w!, false), tf.mul(product(a, v!, false), 2)),
  (a, b) => tf.matMul(tf.softmax(tf.mul(tf.matMul(a, b, false, true), 0.3)), b),
  (a, _, { gamma }) => layerNorm(a, gamma!, gamma!, 1e-3),
  (a) => gelu(a),
  (a, _, { gamma }) => tf.add(tf.mul(a, gamma!), gamma!),
  (a) => tf.transpose(tf.mul(tf.transpose(a, [0, 2, 1]), 2), [0, 2, 1]),
  (a) => tf.slice(a, [0, a.shape[1] === 1 ? 0 : 1, 0], [BATCH, 1, WIDTH]),
  (a) => (a.shape[1] === 4 ? tf.slice(tf.slice(a, [0, 1, 0], [BATCH, 3, WIDTH]), [0, 0, 0], [BATCH, 2, WIDTH]) : a),
  (a, _, { places }) => (a.shape[1] === 4 ? tf.gather(a, places as tf.Tensor1D, 1) : a),
  (a) =>
    a.shape[1] === 1
      ? tf.pad(a, [
          [0, 0],
          [2, 1],
          [0, 0],
        ])
      : a,
  (a) => tf.mul(tf.sum(a, 2, true), tf.ones([1, 1, WIDTH])),
  (a) => tf.concat(tf.split(a, 2, 2).reverse(), 2),
  (a) => tf.stack(tf.unstack(a, 2), 2),
];

describe("a simplified program", () => {
  it("computes what the recorded one computes, gradients included", async () => {
    const choice = fc.tuple(fc.nat(STEPS.length - 1), fc.nat());
    await fc.assert(
      fc.asyncProperty(fc.array(choice, { minLength: 2, maxLength: 10 }), async (choices) => {
        const op = (inputs: Named): tf.Tensor => {
          const values = [inputs["y"]!, inputs["x"]!];
          for (const [step, other] of choices)
            values.push(STEPS[step]!(values.at(-1)!, values[other % values.length]!, inputs));
          return values.at(-1)!;
        };
        const graph = traced(withGradients(op), INPUTS);
        const [expected, actual] = [await evaluate(graph, INPUTS), await evaluate(simplify(graph), INPUTS)];
        for (const [name, data] of Object.entries(expected))
          expect(actual[name], name).toBeAllClose(data as Float32Array, tol.deep);
      }),
      { numRuns: 25, seed: 3 },
    );
  });
});
