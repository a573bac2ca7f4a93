import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { biasIntoProduct, scaleBehindMoves, scaleIntoProduct, transposeIntoProduct } from "./products.ts";
import type { Pass } from "./rewrite.ts";
import { applyPass } from "./rewrite.ts";
import type { Op } from "./testing.ts";
import { after, evaluate, kernels, random, traced } from "./testing.ts";

const product: Op = ({ x, y }) => tf.matMul(x!, y!, false, true);
const inputs = { x: random([3, 4]), y: random([5, 4]) };

describe("transpose-into-product", () => {
  it("reads a transposed operand as it lies", () => {
    const op: Op = ({ x, y }) => tf.matMul(tf.transpose(x!), tf.transpose(y!), false, true);
    const graph = applyPass(traced(op, { x: random([3, 4]), y: random([3, 5]) }), transposeIntoProduct);
    expect(kernels(graph)).toEqual(["BatchMatMul"]);
    expect(graph.nodes[0]?.attributes).toMatchObject({ transposeA: true, transposeB: false });
  });
});

describe("scale-into-product", () => {
  it("makes a scale part of a product that nobody else reads", () => {
    const alphas = (op: Op): unknown[] =>
      applyPass(traced(op, inputs), scaleIntoProduct).nodes.map(({ attributes }) => attributes["alpha"]);
    expect(alphas((named) => tf.mul(product(named) as tf.Tensor, 0.25))).toEqual([0.25]);
    expect(alphas((named) => tf.div(product(named) as tf.Tensor, 8))).toEqual([0.125]);
  });

  it("keeps a scale of a product that is read elsewhere, and factors that make NaN of infinities", () => {
    const shared: Op = (named) => {
      const y = product(named) as tf.Tensor;
      return tf.add(tf.mul(y, 2), y);
    };
    expect(after(scaleIntoProduct, shared, inputs)).toEqual(["BatchMatMul", "Multiply", "Add"]);
    for (const factor of [0, Number.POSITIVE_INFINITY, Number.NaN]) {
      const scaled: Op = (named) => tf.mul(product(named) as tf.Tensor, factor);
      expect(after(scaleIntoProduct, scaled, inputs)).toEqual(["BatchMatMul", "Multiply"]);
    }
    const inverse: Op = (named) => tf.div(2, product(named) as tf.Tensor);
    expect(after(scaleIntoProduct, inverse, inputs)).toEqual(["BatchMatMul", "RealDiv"]);
  });
});

describe("a scale near a product", () => {
  const alpha = 0.25;
  /** [2, 6, 8] → [2, 2, 6, 4] */
  const heads = (x: tf.Tensor): tf.Tensor => tf.transpose(tf.reshape(x, [2, 6, 2, 4]), [0, 2, 1, 3]);
  const cubes = { x: random([2, 6, 8]), y: random([2, 6, 8], 2) };
  const scaled = async (passes: Pass[], op: Op): Promise<unknown[]> => {
    const graph = traced(op, cubes);
    const simplified = passes.reduce(applyPass, graph);
    expect(kernels(simplified)).not.toContain("Multiply");
    const [expected, actual] = [await evaluate(graph, cubes), await evaluate(simplified, cubes)];
    // A power of two: no rounding differs.
    expect(actual).toEqual(expected);
    return simplified.nodes.flatMap(({ attributes }) => attributes["alpha"] ?? []);
  };

  it("is taken up from either operand, by every product that reads it", async () => {
    const op: Op = ({ x, y }) => {
      const query = tf.mul(x!, alpha);
      return { scores: tf.matMul(query, tf.mul(y!, 0.5), false, true), gradient: tf.matMul(tf.exp(y!), query, true) };
    };
    expect(await scaled([scaleIntoProduct], op)).toEqual([alpha / 2, alpha]);
  });

  it("is taken up through reshapes and transpositions of the result", async () => {
    const op: Op = ({ x, y }) => tf.mul(heads(tf.matMul(tf.matMul(x!, y!, false, true), y!)), alpha);
    expect(await scaled([scaleIntoProduct], op)).toEqual([alpha]);
  });

  it("goes behind reshapes and transpositions to the products", async () => {
    const op: Op = ({ x, y }) => tf.matMul(heads(tf.mul(x!, alpha)), heads(y!), false, true);
    expect(await scaled([scaleBehindMoves, scaleIntoProduct], op)).toEqual([alpha]);
  });

  it("stays before a move that somebody else does without", () => {
    const op: Op = ({ x }) => {
      const half = tf.mul(x!, 0.5);
      return { half, moved: tf.transpose(half) };
    };
    expect(after(scaleBehindMoves, op, cubes)).toEqual(["Multiply", "Transpose"]);
  });
});

describe("bias-into-product", () => {
  it("makes a bias row the third operand, but not a column", () => {
    const biased: Op = ({ x, b }) => tf.add(tf.matMul(x!, tf.ones([4, 5])), b!);
    expect(after(biasIntoProduct, biased, { x: random([3, 4]), b: random([5]) })).toEqual(["Linear"]);
    expect(after(biasIntoProduct, biased, { x: random([3, 4]), b: random([3, 1]) })).toEqual(["BatchMatMul", "Add"]);
  });
});
