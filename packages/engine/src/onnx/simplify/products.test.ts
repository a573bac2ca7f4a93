import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { biasIntoProduct, scaleIntoProduct, transposeIntoProduct } from "./products.ts";
import { applyPass } from "./rewrite.ts";
import type { Op } from "./testing.ts";
import { after, kernels, random, traced } from "./testing.ts";

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

describe("bias-into-product", () => {
  it("makes a bias row the third operand, but not a column", () => {
    const biased: Op = ({ x, b }) => tf.add(tf.matMul(x!, tf.ones([4, 5])), b!);
    expect(after(biasIntoProduct, biased, { x: random([3, 4]), b: random([5]) })).toEqual(["Linear"]);
    expect(after(biasIntoProduct, biased, { x: random([3, 4]), b: random([3, 1]) })).toEqual(["BatchMatMul", "Add"]);
  });
});
