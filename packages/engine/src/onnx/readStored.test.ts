import { float32, int32, narrow, zeros, type HalfTensor, type StoredTensor } from "@peftjs/core";
import { ensureTfjs } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Graph, GraphNode } from "./graph.ts";
import { inputOf } from "./graph.ts";
import { withoutDeadNodes } from "./simplify/rewrite.ts";
import { kernels, type Op } from "./simplify/testing.ts";
import { trace } from "./trace/trace.ts";
import { readStored } from "./readStored.ts";

ensureTfjs();

const half = (shape: readonly number[]): HalfTensor => narrow(zeros(shape), "float16");
const [x, large, small] = [zeros([4, 256]), half([256, 256]), half([8, 8])];

function recorded(op: Op, inputs: Readonly<Record<string, StoredTensor>>): Graph {
  const fn: Parameters<typeof trace>[0] = ({ in: named = {} }) => ({ out: { y: op(named) as tf.Tensor } });
  return withoutDeadNodes(trace(fn, { in: inputs }));
}

function widened(op: Op, inputs: Readonly<Record<string, StoredTensor>>): Graph {
  return readStored(recorded(op, inputs), { largest: null });
}

const widenings = (graph: Graph): GraphNode[] => graph.nodes.filter(({ kernel }) => kernel === "PeftWiden");

/** What the widenings wait for. */
const tokens = (graph: Graph): (string | undefined)[] =>
  widenings(graph).map((node) => inputOf(inputOf(node, "shape").producer as GraphNode, "token").producer?.kernel);

/** Applies `op` `times` times. */
const chain = (value: tf.Tensor, times: number, op = tf.tanh): tf.Tensor =>
  Array.from({ length: times }).reduce<tf.Tensor>((y) => op(y), value);

describe("readStored", () => {
  it("widens a weight again in a later pass, once the other operand is there", () => {
    const graph = widened(({ x, w }) => tf.matMul(chain(tf.matMul(tf.neg(x!), w!), 20), w!, false, true), {
      x,
      w: large,
    });
    expect(kernels(graph)).toEqual([
      ...["Neg", "PeftAfter", "PeftWiden", "BatchMatMul"],
      ...Array.from({ length: 20 }, () => "Tanh"),
      ...["PeftAfter", "PeftWiden", "BatchMatMul"],
    ]);
    expect(tokens(graph)).toEqual(["Neg", "Tanh"]);
    // Both see the argument itself, which is all that is left of the weight between the two.
    const argument = graph.inputs.find(({ name }) => name === "w");
    expect(argument?.storage).toEqual({ type: "float16" });
    for (const { inputs, attributes } of widenings(graph)) {
      expect(inputs[0]).toBe(argument?.value);
      expect(attributes).toEqual({ from: "float16" });
    }
  });

  it("shares the copy among calls that follow each other", () => {
    const op: Op = ({ x, w }) => {
      const turns = [0, 2].map((row) => tf.matMul(tf.slice(x!, [row, 0], [2, 256]), w!));
      return tf.concat(turns);
    };
    expect(kernels(widened(op, { x, w: large }))).toEqual([
      ...["Slice", "PeftAfter", "PeftWiden", "BatchMatMul"],
      ...["Slice", "BatchMatMul", "Concat"],
    ]);
  });

  it("waits for the operand that is computed last, not for an argument", () => {
    const op: Op = ({ x, y, w }) => {
      const early = tf.neg(x!);
      return tf.concat([tf.sin(early), early, w!, y!]);
    };
    expect(tokens(widened(op, { x, y: x, w: large }))).toEqual(["Sin"]);
  });

  it("looks rows up in a table as it is stored", () => {
    const op: Op = ({ w, ids }) => tf.neg(tf.gather(w!, ids as tf.Tensor1D));
    const graph = widened(op, { w: large, ids: int32([3, 1], [2]) });
    expect(kernels(graph)).toEqual(["GatherV2", "PeftWiden", "Neg"]);
    expect(graph.nodes[1]?.inputs[0]).toMatchObject({ producer: null, shape: [2, 256] });
  });

  it("widens once what is small, what is a result, and what no computed operand comes with", () => {
    const twice: Op = ({ x, w }) => tf.matMul(chain(tf.matMul(tf.neg(x!), w!), 20), w!);
    expect(widenings(widened(twice, { x: zeros([4, 8]), w: small }))).toHaveLength(1);
    expect(kernels(widened(({ w }) => w!, { w: large }))).toEqual(["PeftWiden"]);
    expect(kernels(widened(({ w, x }) => tf.matMul(x!, w!), { w: large, x }))).toEqual(["PeftWiden", "BatchMatMul"]);
  });

  it("leaves other programs alone", () => {
    const graph = recorded(({ x }) => tf.neg(x!), { x: float32([1], [1]) });
    expect(readStored(graph, { largest: null })).toBe(graph);
  });
});
