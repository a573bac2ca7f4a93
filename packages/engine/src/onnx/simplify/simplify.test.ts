import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { withoutDeadNodes } from "./rewrite.ts";
import { simplify } from "./simplify.ts";
import type { Named } from "./testing.ts";
import { kernels, random, traced } from "./testing.ts";

describe("dead nodes", () => {
  it("are what no result needs", () => {
    const graph = traced(({ x, y }) => ({ x: tf.exp(x!), y: tf.neg(y!) }), { x: random([2]), y: random([2]) });
    expect(kernels(graph)).toEqual(["Exp", "Neg"]);
    expect(kernels(withoutDeadNodes({ ...graph, outputs: graph.outputs.slice(1) }))).toEqual(["Neg"]);
  });
});

describe("a layer with its gradient", () => {
  it("needs no transposition, broadcast or copy", () => {
    const op = ({ x, w, b }: Named): Named => {
      const loss = (weight: tf.Tensor, bias: tf.Tensor): tf.Scalar =>
        tf.sum(tf.square(tf.add(tf.matMul(x!, weight, false, true), bias)));
      const { grads } = tf.valueAndGrads(loss)([w!, b!]);
      return { w: grads[0] as tf.Tensor, b: grads[1] as tf.Tensor };
    };
    const graph = simplify(traced(op, { x: random([3, 4]), w: random([2, 4]), b: random([2]) }));
    expect(kernels(graph).sort()).toEqual(["BatchMatMul", "Linear", "Multiply", "Sum"]);
  });
});
