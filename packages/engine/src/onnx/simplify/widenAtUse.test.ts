import { narrow, type StoredTensor } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Graph, GraphNode } from "../graph.ts";
import { inputOf } from "../graph.ts";
import type { Op } from "./testing.ts";
import { kernels, random, traced } from "./testing.ts";
import { applyPass } from "./rewrite.ts";
import { widenAtUse } from "./widenAtUse.ts";

const half = (shape: readonly [number, number]): StoredTensor => narrow(random(shape), "float16");
const [x, large, small] = [random([4, 256]), half([256, 256]), half([8, 8])];

function rewritten(op: Op, inputs: Readonly<Record<string, StoredTensor>>): Graph {
  return applyPass(traced(op, inputs), widenAtUse);
}

/** The gates that the widened operands of a product wait behind. */
function tokensOf(graph: Graph): (GraphNode | null)[] {
  return graph.nodes
    .filter(({ kernel }) => kernel === "PeftWiden")
    .map((node) => inputOf(inputOf(node, "shape").producer as GraphNode, "token").producer);
}

describe("widen-at-use", () => {
  it("widens a weight again for every product, once its other operand is there", () => {
    const graph = rewritten(({ x, w }) => tf.matMul(tf.tanh(tf.matMul(tf.neg(x!), w!)), w!, false, true), {
      x,
      w: large,
    });
    expect(kernels(graph)).toEqual([
      ...["Neg", "PeftAfter", "PeftWiden", "BatchMatMul"],
      ...["Tanh", "PeftAfter", "PeftWiden", "BatchMatMul"],
    ]);
    expect(tokensOf(graph).map((node) => node?.kernel)).toEqual(["Neg", "Tanh"]);
    // Both read the stored weight itself.
    expect(graph.nodes.filter(({ kernel }) => kernel === "PeftWiden").map(({ inputs }) => inputs[0]?.producer)).toEqual(
      [null, null],
    );
  });

  it("waits for the operand that is made last", () => {
    const op: Op = ({ x, w }) => {
      const early = tf.neg(x!);
      return tf.concat([early, tf.sin(early), w!]);
    };
    const graph = rewritten(op, { x: random([256, 256]), w: large });
    expect(tokensOf(graph).map((node) => node?.kernel)).toEqual(["Sin"]);
  });

  it("reads the rows of a table as they are stored", () => {
    const ids = narrow(random([3]), "float16");
    const op: Op = ({ w, ids }) => tf.gather(w!, tf.cast(ids!, "int32") as tf.Tensor1D);
    const graph = rewritten(op, { w: large, ids });
    expect(kernels(graph)).toEqual(["PeftWiden", "Cast", "PeftWidenRows"]);
    expect(graph.nodes.at(-1)?.attributes).toMatchObject({ from: "float16", axis: 0 });
    expect(graph.nodes.at(-1)?.inputs[0]?.producer).toBeNull();
  });

  it("widens once what is small, and what no other operand comes with", () => {
    const one = rewritten(({ x, w }) => tf.matMul(tf.matMul(x!, w!), w!, false, true), { x: random([4, 8]), w: small });
    expect(kernels(one)).toEqual(["PeftWiden", "BatchMatMul", "BatchMatMul"]);
    expect(kernels(rewritten(({ w }) => tf.sum(w!), { w: large }))).toEqual(["PeftWiden", "Sum"]);
  });

  it("leaves other programs alone", () => {
    const graph = traced(({ x }) => tf.neg(x!), { x });
    expect(applyPass(graph, widenAtUse)).toBe(graph);
  });
});
