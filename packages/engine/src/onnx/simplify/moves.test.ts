import { int32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { joinTranspositions, shortenChains } from "./moves.ts";
import { applyPass } from "./rewrite.ts";
import type { Inputs, Op } from "./testing.ts";
import { after, evaluate, kernels, random, traced } from "./testing.ts";

const x = random([3, 4]);

describe("shorten-chains", () => {
  const left = (op: Op, inputs: Inputs = { x }): string[] => after(shortenChains, op, inputs);

  it("makes one reshape of several, and none where the shape is the first one", () => {
    expect(left(({ x }) => tf.reshape(tf.expandDims(tf.reshape(tf.exp(x!), [12]), 0), [2, 6]))).toEqual([
      "Exp",
      "Reshape",
    ]);
    expect(left(({ x }) => tf.reshape(tf.reshape(tf.exp(x!), [12]), [3, 4]))).toEqual(["Exp"]);
  });

  it("makes one transposition of two, or none, or a reshape", () => {
    const cube = { x: random([2, 3, 4]) };
    expect(left(({ x }) => tf.transpose(tf.transpose(tf.exp(x!), [1, 0]), [1, 0]))).toEqual(["Exp"]);
    expect(left(({ x }) => tf.transpose(tf.transpose(x!, [1, 0, 2]), [2, 1, 0]), cube)).toEqual(["Transpose"]);
    expect(left(({ x }) => tf.transpose(x!, [1, 0, 2]), { x: random([1, 3, 4]) })).toEqual(["Reshape"]);
    expect(left(({ x }) => tf.transpose(x!, [1, 0]))).toEqual(["Transpose"]);
  });

  it("makes one slice of two", async () => {
    const op: Op = ({ x }) => tf.slice(tf.slice(x!, [1, 1], [2, -1]), [0, 1], [1, 2]);
    const graph = applyPass(traced(op, { x }), shortenChains);
    expect(kernels(graph)).toEqual(["Slice"]);
    expect(Array.from((await evaluate(graph, { x }))["y"] as Float32Array)).toEqual(Array.from(x.data.slice(6, 8)));
  });

  it("casts once where the first cast loses nothing", () => {
    const bool = ({ x }: { x?: tf.Tensor }): tf.Tensor => tf.greater(x as tf.Tensor, 0);
    expect(left((named) => tf.cast(tf.cast(bool(named), "float32"), "bool"))).toEqual(["Greater"]);
    expect(left((named) => tf.cast(tf.cast(bool(named), "float32"), "int32"))).toEqual(["Greater", "Cast"]);
    const ids = { x: int32([0, 1], [2]) };
    expect(left(({ x }) => tf.cast(tf.cast(x!, "float32"), "bool"), ids)).toEqual(["Cast"]);
  });

  it("casts twice where the first cast rounds or truncates", () => {
    expect(left(({ x }) => tf.cast(tf.cast(x!, "int32"), "float32"))).toEqual(["Cast", "Cast"]);
    expect(left(({ x }) => tf.cast(tf.cast(x!, "bool"), "float32"))).toEqual(["Cast", "Cast"]);
    const ids = { x: int32([2 ** 24 + 1, 1], [2]) };
    expect(left(({ x }) => tf.cast(tf.cast(x!, "float32"), "int32"), ids)).toEqual(["Cast", "Cast"]);
  });
});

describe("join-transpositions", () => {
  const inputs = { x, y: random([3, 4], 2) };
  const left = (op: Op): string[] =>
    kernels(applyPass(applyPass(traced(op, inputs), joinTranspositions), shortenChains));

  it("lets transpositions meet across elementwise operators", () => {
    expect(left(({ x }) => tf.transpose(tf.exp(tf.transpose(x!))))).toEqual(["Exp"]);
    expect(left(({ x }) => tf.transpose(tf.mul(tf.transpose(x!), 3)))).toEqual(["Multiply"]);
    expect(left(({ x, y }) => tf.transpose(tf.add(tf.transpose(x!), tf.transpose(y!))))).toEqual(["Add"]);
  });

  it("moves nothing that somebody else reads, or that had not been moved", () => {
    const shared: Op = ({ x }) => {
      const moved = tf.exp(tf.transpose(x!));
      return { y: tf.transpose(moved), z: moved };
    };
    expect(left(shared)).toEqual(["Transpose", "Exp", "Transpose"]);
    expect(left(({ x, y }) => tf.transpose(tf.add(tf.transpose(x!), tf.reshape(y!, [4, 3]))))).toEqual([
      "Transpose",
      "Reshape",
      "Add",
      "Transpose",
    ]);
  });
});
