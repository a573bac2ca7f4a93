import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Graph } from "../graph.ts";
import { uniformOf } from "../graph.ts";
import { chooseByConstant, foldUniform } from "./constants.ts";
import { removeIdentities } from "./identities.ts";
import { applyPass } from "./rewrite.ts";
import type { Inputs, Named, Op } from "./testing.ts";
import { after, kernels, random, traced } from "./testing.ts";

const x = random([3, 4]);

describe("fold-uniform-constants", () => {
  it("computes with constants of one repeated value, in float32", () => {
    const graph = applyPass(
      traced(({ x }) => tf.mul(x!, tf.add(tf.fill([3, 4], 0.1), tf.ones([3, 4]))), { x }),
      foldUniform,
    );
    expect(kernels(graph)).toEqual(["Multiply"]);
    expect(uniformOf(graph.nodes[0]?.inputs[1] as never)).toBe(Math.fround(Math.fround(0.1) + 1));
  });

  it("leaves constants alone that differ, and x − x and 0·x, which are NaN where x is", () => {
    expect(after(foldUniform, ({ x }) => tf.add(x!, tf.neg(tf.tensor1d([1, 2, 3, 4]))), { x })).toEqual(["Neg", "Add"]);
    expect(after(foldUniform, ({ x }) => tf.sub(x!, x!), { x })).toEqual(["Sub"]);
    expect(after(foldUniform, ({ x }) => tf.mul(x!, 0), { x })).toEqual(["Multiply"]);
  });
});

describe("choose-by-constant", () => {
  // tfjs copies the operands of where.
  const left = (op: Op, named: Inputs): string[] =>
    kernels([foldUniform, removeIdentities, chooseByConstant].reduce<Graph>(applyPass, traced(op, named)));

  it("takes the operand that a constant condition chooses", () => {
    const chosen = (condition: boolean): string[] => {
      const constant = (): tf.Tensor =>
        tf.tensor1d(
          Array.from({ length: 4 }, () => condition),
          "bool",
        );
      return left(({ x }) => tf.where(constant(), tf.exp(x!), tf.neg(x!)), { x: random([4]) });
    };
    expect(chosen(true)).toEqual(["Exp"]);
    expect(chosen(false)).toEqual(["Neg"]);
  });

  it("keeps a choice that depends on an argument", () => {
    const relu = ({ x }: Named): tf.Tensor => tf.where(tf.greater(x!, 0), x!, tf.zerosLike(x!));
    expect(left(relu, { x })).toEqual(["Greater", "Select"]);
  });
});
