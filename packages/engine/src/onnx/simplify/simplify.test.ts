import type { HostTensor } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import { ensureTfjs } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Graph } from "../graph.ts";
import { uniformOf } from "../graph.ts";
import { trace } from "../trace/trace.ts";
import {
  biasIntoProduct,
  dropBroadcasts,
  foldUniform,
  removeIdentities,
  scaleIntoProduct,
  transposeIntoProduct,
} from "./passes.ts";
import type { Pass } from "./rewrite.ts";
import { applyPass, withoutDeadNodes } from "./rewrite.ts";
import { mergeEqualCalls, simplify } from "./simplify.ts";

ensureTfjs();

type Op = (x: tf.Tensor, y: tf.Tensor) => tf.Tensor;

function traced(op: Op, shapes: { readonly x: number[]; readonly y: number[] }): Graph {
  const zeros = (shape: number[]): HostTensor => float32(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
  return trace(({ in: { x, y } = {} }) => ({ out: { z: op(x as tf.Tensor, y as tf.Tensor) } }), {
    in: { x: zeros(shapes.x), y: zeros(shapes.y) },
  });
}

const kernels = (graph: Graph): string[] => graph.nodes.map(({ kernel }) => kernel);

function after(pass: Pass, op: Op, shapes = { x: [3, 4], y: [3, 4] }): string[] {
  return kernels(applyPass(traced(op, shapes), pass));
}

describe("passes", () => {
  it("drop nodes that no result needs", () => {
    const graph = traced((x, y) => (tf.exp(x), tf.neg(y)), { x: [2], y: [2] });
    expect(kernels(graph)).toEqual(["Exp", "Neg"]);
    expect(kernels(withoutDeadNodes(graph))).toEqual(["Neg"]);
  });

  it("fold constants of one repeated value, in float32", () => {
    const graph = applyPass(
      traced((x) => tf.mul(x, tf.add(tf.fill([3, 4], 0.1), tf.ones([3, 4]))), { x: [3, 4], y: [1] }),
      foldUniform,
    );
    expect(kernels(graph)).toEqual(["Multiply"]);
    expect(uniformOf(graph.nodes[0]?.inputs[1] as never)).toBe(Math.fround(Math.fround(0.1) + 1));
  });

  it("remove what changes nothing", () => {
    expect(after(removeIdentities, (x) => tf.add(tf.mul(tf.cast(x, "float32"), 1), 0))).toEqual([]);
    expect(after(removeIdentities, (x) => tf.reshape(tf.reshape(tf.exp(x), [12]), [3, 4]))).toEqual(["Exp"]);
    expect(after(removeIdentities, (x) => tf.transpose(tf.transpose(tf.exp(x), [1, 0]), [1, 0]))).toEqual(["Exp"]);
    expect(after(removeIdentities, (x) => tf.transpose(x, [1, 0, 2]), { x: [1, 3, 4], y: [1] })).toEqual(["Reshape"]);
  });

  it("keep what does: a constant that makes the result larger, a real transposition", () => {
    expect(after(removeIdentities, (x) => tf.mul(x, tf.ones([3, 4])), { x: [4], y: [1] })).toEqual(["Multiply"]);
    expect(after(removeIdentities, (x) => tf.transpose(x, [1, 0]))).toEqual(["Transpose"]);
  });

  it("let an elementwise operator broadcast by itself", () => {
    const spread: Op = (x, y) => tf.mul(tf.mul(x, tf.ones([3, 4])), y);
    expect(after(dropBroadcasts, spread, { x: [3, 1], y: [3, 4] })).toEqual(["Multiply"]);
    // Nobody else has the full shape here.
    expect(after(dropBroadcasts, (x, y) => tf.mul(tf.mul(x, tf.ones([3, 4])), y), { x: [3, 1], y: [4] })).toEqual([
      "BroadcastTo",
      "Multiply",
    ]);
  });

  it("read a transposed operand as it lies", () => {
    const graph = applyPass(
      traced((x, y) => tf.matMul(tf.transpose(x), tf.transpose(y), false, true), { x: [3, 4], y: [3, 5] }),
      transposeIntoProduct,
    );
    expect(kernels(graph)).toEqual(["BatchMatMul"]);
    expect(graph.nodes[0]?.attributes).toMatchObject({ transposeA: true, transposeB: false });
  });

  it("make a scale part of a product that nobody else reads", () => {
    const graph = applyPass(
      traced((x, y) => tf.mul(tf.matMul(x, y, false, true), 0.25), { x: [3, 4], y: [5, 4] }),
      scaleIntoProduct,
    );
    expect(graph.nodes.map(({ attributes }) => attributes["alpha"])).toEqual([0.25]);
    const shared: Op = (x, y) => {
      const product = tf.matMul(x, y, false, true);
      return tf.add(tf.mul(product, 2), product);
    };
    expect(after(scaleIntoProduct, shared, { x: [3, 4], y: [5, 4] })).toEqual(["BatchMatMul", "Multiply", "Add"]);
  });

  it("make a bias row the third operand of a product", () => {
    const biased: Op = (x, y) => tf.add(tf.matMul(x, tf.ones([4, 5])), y);
    expect(after(biasIntoProduct, biased, { x: [3, 4], y: [5] })).toEqual(["Linear"]);
    expect(after(biasIntoProduct, biased, { x: [3, 4], y: [3, 1] })).toEqual(["BatchMatMul", "Add"]);
  });

  it("make equal calls once, and tell calls apart that differ in an attribute", () => {
    expect(after(mergeEqualCalls(), (x) => tf.add(tf.exp(x), tf.exp(x)))).toEqual(["Exp", "Add"]);
    expect(after(mergeEqualCalls(), (x) => tf.add(tf.sum(x, 0, true), tf.sum(x, 1, true)))).toEqual([
      "Sum",
      "Sum",
      "Add",
    ]);
  });
});

describe("a layer with its gradient", () => {
  it("needs no transposition, broadcast or copy", () => {
    const graph = simplify(
      trace(
        ({ in: { x, w, b } = {} }) => {
          const loss = (weight: tf.Tensor, bias: tf.Tensor): tf.Scalar =>
            tf.sum(tf.square(tf.add(tf.matMul(x as tf.Tensor2D, weight as tf.Tensor2D, false, true), bias)));
          const { grads } = tf.valueAndGrads(loss)([w as tf.Tensor, b as tf.Tensor]);
          return { grads: { w: grads[0] as tf.Tensor, b: grads[1] as tf.Tensor } };
        },
        {
          in: {
            x: float32(new Float32Array(12), [3, 4]),
            w: float32(new Float32Array(8), [2, 4]),
            b: float32(new Float32Array(2), [2]),
          },
        },
      ),
    );
    expect(kernels(graph).sort()).toEqual(["BatchMatMul", "Linear", "Multiply", "Sum"]);
  });
});
