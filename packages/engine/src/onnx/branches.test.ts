import { float32 } from "@peftjs/core";
import { gate } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { branchAtGates } from "./branches.ts";
import { computeAgain } from "./memory/computeAgain.ts";
import { simplify } from "./simplify/simplify.ts";
import type { Inputs, Named } from "./simplify/testing.ts";
import { evaluate, random, traced } from "./simplify/testing.ts";

/** Values are [4, 4]; `a` and `b` are earlier ones. */
type Step = (a: tf.Tensor, b: tf.Tensor, inputs: Named) => tf.Tensor;

const STEPS: readonly Step[] = [
  (a) => tf.tanh(a),
  (a, b) => tf.add(a, b),
  (a, b) => tf.tanh(tf.matMul(a, b)),
  (a) => tf.mul(a, tf.sum(a)),
  (a, b) => tf.concat(tf.split(tf.add(a, b), 2).reverse()),
  (a, _, { p }) => gate(a, p as tf.Scalar),
  (a, _, { p }) => gate(a, p as tf.Scalar),
  (a, _, { q }) => gate(a, q as tf.Scalar),
  // What opens a gate may be computed behind another.
  (a, b) => gate(a, tf.sum(b) as tf.Scalar),
];

describe("a program with gates", () => {
  it("computes in branches what it computes without", async () => {
    const choice = fc.tuple(fc.nat(STEPS.length - 1), fc.nat(), fc.nat());
    const choices = fc.array(choice, { minLength: 4, maxLength: 14 });
    const open = fc.constantFrom(0, 1);
    let branches = 0;
    await fc.assert(
      fc.asyncProperty(
        choices,
        fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
        open,
        open,
        async (steps, read, p, q) => {
          const inputs: Inputs = { x: random([4, 4], 3), p: float32([p], []), q: float32([q], []) };
          const op = (named: Named): Named => {
            const values = [named["x"]!];
            for (const [step, a, b] of steps)
              values.push(STEPS[step]!(values[a % values.length]!, values[b % values.length]!, named));
            return Object.fromEntries(
              [values.length - 1, ...read].map((i, n) => [String(n), values[i % values.length]!]),
            );
          };
          const graph = branchAtGates(simplify(traced(op, inputs)));
          branches += graph.nodes.filter(({ body }) => body !== undefined).length;
          expect(graph.nodes.filter(({ kernel }) => kernel === "PeftGate")).toEqual([]);
          expect(await evaluate(graph, inputs)).toEqual(await evaluate(simplify(traced(op, inputs)), inputs));
        },
      ),
      { numRuns: 60, seed: 5 },
    );
    expect(branches).toBeGreaterThan(60);
  });

  describe("of which a part is computed again", () => {
    const large: Inputs = { x: random([512, 256]), w: random([256, 256], 2), p: float32([1], []) };

    /** A negation is read early and, after most memory was in use, for a gate and perhaps otherwise. */
    function branchOf(readOtherwise: boolean): string[] {
      const op = ({ x, w, p }: Named): Named => {
        const product = tf.matMul(x!, w!);
        const cheap = tf.neg(product);
        const wide = tf.concat([tf.exp(cheap), tf.exp(product), tf.sin(cheap), tf.sin(product)]);
        const late = tf.mul(product, tf.sum(wide, 0));
        const gated = gate(tf.matMul(tf.cos(late), cheap, true), p as tf.Scalar);
        const other = readOtherwise ? { other: tf.matMul(late, cheap, true) } : {};
        return { late: tf.sum(late), gated, ...other, last: tf.sum(product, 1) };
      };
      const { nodes } = branchAtGates(computeAgain(simplify(traced(op, large))));
      return nodes.flatMap(({ body }) => body?.nodes.map(({ kernel }) => kernel) ?? []);
    }

    it("computes it in the branch", () => {
      expect(branchOf(false).sort()).toEqual(["BatchMatMul", "Cos", "Neg", "PeftAfter"]);
    });

    it("keeps it where others need it, too: those cannot wait for what is behind the gate", () => {
      expect(branchOf(true).sort()).toEqual(["BatchMatMul", "Cos"]);
    });
  });
});
