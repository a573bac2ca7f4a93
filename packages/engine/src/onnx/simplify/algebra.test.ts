import { float32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { uniformOf } from "../graph.ts";
import { simplifyAlgebra } from "./algebra.ts";
import { applyPass } from "./rewrite.ts";
import type { Inputs, Named, Op } from "./testing.ts";
import { after, evaluate, random, traced } from "./testing.ts";

const inputs = { x: random([2, 3, 4]), y: random([2, 3, 4], 2) };
const left = (op: Op, named: Inputs = inputs): string[] => after(simplifyAlgebra, op, named);
const factors = (op: Op): unknown[] =>
  applyPass(traced(op, inputs), simplifyAlgebra).nodes.map(({ inputs: [, b] }) => b && uniformOf(b));

describe("simplify-algebra", () => {
  it("divides by a power of two as it multiplies, and by nothing else", () => {
    expect(factors(({ x }) => tf.div(x!, 8))).toEqual([0.125]);
    expect(left(({ x }) => tf.div(x!, 8))).toEqual(["Multiply"]);
    expect(left(({ x }) => tf.div(x!, 3))).toEqual(["RealDiv"]);
    expect(left(({ x }) => tf.div(x!, 2 ** 127))).toEqual(["RealDiv"]);
    expect(left(({ x }) => tf.div(x!, 0))).toEqual(["RealDiv"]);
  });

  it("multiplies once by two constants, in float32", () => {
    expect(factors(({ x }) => tf.mul(tf.mul(x!, 0.1), 0.3))).toEqual([
      Math.fround(Math.fround(0.1) * Math.fround(0.3)),
    ]);
    expect(factors(({ x }) => tf.mul(tf.mul(tf.div(x!, 4), 0.5), 0.5))).toEqual([0.0625]);
  });

  it("multiplies twice where that makes another infinity, zero or denormal", async () => {
    expect(left(({ x }) => tf.mul(tf.mul(x!, 1e30), 1e-30))).toEqual(["Multiply", "Multiply"]);
    expect(left(({ x }) => tf.mul(tf.mul(x!, 1e-30), 1e-30))).toEqual(["Multiply", "Multiply"]);
    expect(left(({ x }) => tf.mul(tf.mul(x!, 0), 0))).toEqual(["Multiply", "Multiply"]);
    const values = { x: float32([1e38, -1e38, Infinity, -Infinity, NaN, 0, -0, 1e-40], [8]) };
    for (const op of [
      ({ x }: Named) => tf.mul(tf.mul(x!, 3), 5),
      ({ x }: Named) => tf.mul(tf.mul(x!, 0.5), -0.25),
      ({ x }: Named) => tf.div(tf.neg(x!), 4),
    ]) {
      const graph = traced(op, values);
      const expected = (await evaluate(graph, values))["y"];
      expect((await evaluate(applyPass(graph, simplifyAlgebra), values))["y"]).toEqual(expected);
    }
  });

  it("adds what is negated by subtracting", () => {
    expect(left(({ x, y }) => tf.add(x!, tf.neg(y!)))).toEqual(["Sub"]);
    expect(left(({ x, y }) => tf.add(tf.neg(x!), y!))).toEqual(["Sub"]);
    expect(left(({ x, y }) => tf.sub(x!, tf.neg(y!)))).toEqual(["Add"]);
    expect(left(({ x }) => tf.neg(tf.neg(x!)))).toEqual([]);
    expect(left(({ x }) => tf.neg(tf.mul(x!, 3)))).toEqual(["Multiply"]);
  });

  it("keeps the negation of a difference: it tells 0 from −0", () => {
    expect(left(({ x, y }) => tf.neg(tf.sub(x!, y!)))).toEqual(["Sub", "Neg"]);
  });

  it("leaves zeros out of a sum of many", () => {
    expect(left(({ x, y }) => tf.addN([x!, y!]))).toEqual(["Add"]);
    expect(left(({ x }) => tf.addN([x!, tf.fill([2, 3, 4], 0)]))).toEqual(["Fill", "Add"]);
    const zeros = (): tf.Tensor => tf.tensor3d(new Float32Array(24), [2, 3, 4]);
    expect(left(({ x, y }) => tf.addN([x!, zeros(), y!, x!]))).toEqual(["AddN"]);
    expect(left(({ x, y }) => tf.addN([x!, zeros(), y!]))).toEqual(["Add"]);
    expect(left(({ x }) => tf.exp(tf.addN([zeros(), x!])))).toEqual(["Exp"]);
    expect(left(() => tf.exp(tf.addN([zeros(), zeros()])))).toEqual(["Exp"]);
  });

  it.each([
    [0, false, 0, false],
    [1, false, 1, false],
    [2, true, 0, true],
    [0, true, 2, false],
    [[0, 1], true, 2, false],
    [-1, false, -1, true],
  ])("sums a sum over %j (keepDims %j) over %j (keepDims %j) at once", async (inner, keepInner, outer, keepOuter) => {
    const op: Op = ({ x }) => tf.sum(tf.sum(x!, inner, keepInner), outer, keepOuter);
    const graph = traced(op, inputs);
    const simplified = applyPass(graph, simplifyAlgebra);
    expect(simplified.nodes.filter(({ kernel }) => kernel === "Sum")).toHaveLength(1);
    expect(simplified.outputs[0]?.value.shape).toEqual(graph.outputs[0]?.value.shape);
    const [expected, actual] = [await evaluate(graph, inputs), await evaluate(simplified, inputs)];
    Array.from(actual["y"] ?? []).forEach((value, i) => expect(value).toBeCloseTo(expected["y"]?.[i] as number, 5));
  });

  it("keeps a sum that somebody else reads", () => {
    const op: Op = ({ x }) => {
      const rows = tf.sum(x!, 2);
      return { rows, all: tf.sum(rows) };
    };
    expect(left(op)).toEqual(["Sum", "Sum"]);
  });
});
