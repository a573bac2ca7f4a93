import { float32 } from "@peftjs/core";
import { gate } from "@peftjs/core/internal";
import { installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { joinProducts, joinSums } from "./joins.ts";
import { applyPass } from "./rewrite.ts";
import type { GraphPass } from "./rewrite.ts";
import type { Inputs, Named, Op } from "./testing.ts";
import { evaluate, kernels, random, traced } from "./testing.ts";

installMatchers();

const inputs: Inputs = {
  x: random([40, 30]),
  a1: random([4, 30], 2),
  a2: random([3, 30], 3),
  p1: random([40, 4], 4),
  p2: random([40, 4], 5),
  wide: random([30, 30], 6),
  open: float32([1], []),
};

async function joined(pass: GraphPass, op: Op): Promise<string[]> {
  const graph = traced(op, inputs);
  const simplified = applyPass(graph, pass);
  const [expected, actual] = [await evaluate(graph, inputs), await evaluate(simplified, inputs)];
  for (const [name, data] of Object.entries(expected))
    expect(actual[name], name).toBeAllClose(data as Float32Array, tol.float32);
  return kernels(simplified);
}

const mm = (a: tf.Tensor, b: tf.Tensor, transposeA = false, transposeB = false): tf.Tensor =>
  tf.matMul(a, b, transposeA, transposeB);

describe("join-products", () => {
  const left = (op: Op): Promise<string[]> => joined(joinProducts, op);

  it("computes narrow products of one input at once, where the first is", async () => {
    const op = ({ x, a1, a2 }: Named): Named => {
      const y1 = tf.exp(mm(x!, a1!, false, true));
      return { y1, y2: mm(x!, a2!, false, true) };
    };
    expect(await left(op)).toEqual(["Concat", "BatchMatMul", "SplitV", "Exp"]);
  });

  it("computes the gradients of narrow weights at once, where the last is", async () => {
    const op = ({ x, p1, p2 }: Named): Named => {
      const y1 = mm(p1!, x!, true);
      return { y2: mm(tf.exp(p2!), x!, true), y1: tf.neg(y1) };
    };
    expect(await left(op)).toEqual(["Exp", "Concat", "BatchMatMul", "SplitV", "Neg"]);
  });

  it("keeps products apart of which one needs another, or which are wide, or read otherwise", async () => {
    const dependent = ({ x, a1 }: Named): Named => {
      const y1 = mm(x!, a1!, false, true);
      return { y1, y2: mm(x!, tf.transpose(tf.slice(y1, [0, 0], [30, 4])), false, true) };
    };
    expect(await left(dependent)).toEqual(["BatchMatMul", "Slice", "Transpose", "BatchMatMul"]);
    const wide = ({ x, wide }: Named): Named => ({ y1: mm(x!, wide!), y2: mm(x!, tf.exp(wide!)) });
    expect(await left(wide)).toEqual(["BatchMatMul", "Exp", "BatchMatMul"]);
    const otherwise = ({ x, a1, p1 }: Named): Named => ({ y1: mm(x!, a1!, false, true), y2: mm(x!, p1!, true) });
    expect(await left(otherwise)).toEqual(["BatchMatMul", "BatchMatMul"]);
  });
});

describe("join-products, of gated ones", () => {
  it("joins those of one gate, and not with others that are needed anyway", async () => {
    const op = ({ x, a1, a2, p1, open }: Named): Named => {
      const [y1, y2] = [a1!, a2!].map((a) => gate(mm(x!, a, false, true), open as tf.Scalar));
      return { y0: mm(x!, tf.slice(x!, [0, 0], [2, 30]), false, true), y1: y1!, y2: y2!, y3: mm(p1!, x!, true) };
    };
    const order = ["Concat", "BatchMatMul", "SplitV", "PeftGate", "PeftGate", "Slice", "BatchMatMul", "BatchMatMul"];
    expect(await joined(joinProducts, op)).toEqual(order);
  });
});

describe("join-sums", () => {
  const left = (op: Op): Promise<string[]> => joined(joinSums, op);
  const sum = (...terms: tf.Tensor[]): tf.Tensor => terms.reduce((a, b) => tf.add(a, b));

  it("makes narrow products that are added up one product", async () => {
    const op = ({ x, p1, p2, a1 }: Named): tf.Tensor => sum(tf.exp(x!), mm(p1!, a1!), tf.neg(x!), mm(p2!, tf.sin(a1!)));
    expect(await left(op)).toEqual(["Exp", "Neg", "Sin", "Concat", "Concat", "BatchMatMul", "Add", "Add"]);
  });

  it("makes one of all terms, if there are no others", async () => {
    const op = ({ p1, p2, a1 }: Named): tf.Tensor => sum(mm(p1!, a1!), mm(p2!, a1!), mm(p1!, tf.sin(a1!)));
    expect(await left(op)).toEqual(["Sin", "Concat", "Concat", "BatchMatMul"]);
  });

  it("keeps a product that something else reads, in the middle of the sum or as a result", async () => {
    const read = ({ x, p1, p2, a1 }: Named): Named => {
      const first = tf.add(x!, mm(p1!, a1!));
      return { first, y: tf.add(first, mm(p2!, a1!)) };
    };
    expect(await left(read)).toEqual(["BatchMatMul", "Add", "BatchMatMul", "Add"]);
    const twice = ({ x, p1, p2, a1 }: Named): Named => {
      const y = mm(p1!, a1!);
      return { y: sum(x!, y, mm(p2!, a1!)), z: tf.exp(y) };
    };
    expect(await left(twice)).toEqual(["BatchMatMul", "BatchMatMul", "Add", "Add", "Exp"]);
    const squared = ({ p1, p2, a1 }: Named): tf.Tensor => {
      const y = mm(p1!, a1!);
      return sum(tf.mul(y, y), mm(p2!, a1!));
    };
    expect(await left(squared)).toEqual(["BatchMatMul", "Multiply", "BatchMatMul", "Add"]);
  });
});
