import type { HostTensor } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GRADIENTS, registerGradients } from "../src/gradients/register.ts";
import { BRANCHES, REGISTERED } from "./gradientCases.ts";
import type { GradientCase } from "./gradientHarness.ts";
import { checkCompiled, checkDifferences, gradientCase, indices } from "./gradientHarness.ts";
import { values } from "./harness.ts";

async function check(row: GradientCase): Promise<void> {
  checkDifferences(row);
  await checkCompiled(row);
}

describe("registration", () => {
  it("replaces what tfjs has, once", () => {
    registerGradients();
    for (const config of GRADIENTS) expect(tf.getGradient(config.kernelName)).toBe(config);
    const names = GRADIENTS.map(({ kernelName }) => kernelName);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("registered gradients", () => {
  it.each(REGISTERED)("$name equals the differences", (row) => checkDifferences(row));
  it.each(REGISTERED)("$name is the same compiled", (row) => checkCompiled(row));
});

const seed = fc.integer({ min: 1, max: 1e6 });
const flag = fc.boolean();
const size = fc.integer({ min: 1, max: 3 });

/** Two shapes that broadcast: a common one with some sizes made 1 and leading ones cut off. */
const broadcasting = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }).chain((full) => {
  const ones = fc.array(flag, { minLength: full.length, maxLength: full.length });
  const shape = fc
    .tuple(ones, fc.nat(full.length))
    .map(([one, cut]) => full.map((length, axis) => (one[axis] === true ? 1 : length)).slice(cut));
  return fc.tuple(shape, shape);
});

/** Two batch shapes of which one is repeated along leading axes. (Between others tfjs's cpu kernel repeats the wrong matrices.) */
const batches = fc
  .tuple(fc.array(size, { maxLength: 2 }), fc.nat(2), flag, flag)
  .map(([full, repeated, ones, swap]): [number[], number[]] => {
    const part = [...full.slice(0, repeated).map(() => 1), ...full.slice(repeated)].slice(ones ? 0 : repeated);
    return swap ? [part, full] : [full, part];
  });

/** Multiples of ½ plus `offset`: values of two offsets never meet. */
function grid(shape: readonly number[], offset: number, start: number): HostTensor {
  const { data } = values(shape, 0.5, 2.9, start);
  return float32(
    Float32Array.from(data, (value) => Math.round(2 * value) / 2 + offset),
    shape,
  );
}

const property = <T extends readonly unknown[]>(
  arbitraries: { readonly [K in keyof T]: fc.Arbitrary<T[K]> },
  predicate: (...args: T) => Promise<void>,
): Promise<void> =>
  fc.assert(
    fc.asyncProperty(fc.tuple(...(arbitraries as fc.Arbitrary<unknown>[])), (args) =>
      predicate(...(args as unknown as T)),
    ),
    { numRuns: 8 },
  );

type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

describe("over shapes that vary", () => {
  const BINARY: Readonly<Record<string, Binary>> = {
    add: tf.add,
    sub: tf.sub,
    mul: tf.mul,
    div: tf.div,
    maximum: tf.maximum,
    minimum: tf.minimum,
    squaredDifference: tf.squaredDifference,
    atan2: tf.atan2,
    pow: (a, b) => tf.pow(tf.mul(a, 0.5), b),
    prelu: (a, b) => tf.prelu(tf.sub(a, 1.75), b),
    // 2.1/1 to 2.6/0.9 lie between two integers.
    mod: (a, b) => tf.mod(tf.add(tf.mul(a, 0.2), 2), tf.add(tf.mul(b, 0.03), 0.9)),
    floorDiv: (a, b) => tf.add(tf.floorDiv(a, tf.add(b, 0.1)), tf.mul(a, b)),
  };
  it.each(Object.entries(BINARY))("%s", async (name, op) => {
    await property([broadcasting, seed], async ([a, b], start) => {
      await check({ name, op: op as GradientCase["op"], inputs: [grid(a, 0, start), grid(b, 0.25, start + 1)] });
    });
  });

  it("matMul", async () => {
    await property([batches, fc.tuple(size, size, size), flag, flag], async ([a, b], [m, k, n], ta, tb) => {
      const shapes = [
        [...a, ...(ta ? [k, m] : [m, k])],
        [...b, ...(tb ? [n, k] : [k, n])],
      ];
      await check(gradientCase("matMul", (x: tf.Tensor, y: tf.Tensor) => tf.matMul(x, y, ta, tb), shapes));
    });
  });

  it("gather", async () => {
    const shape = fc.array(size, { minLength: 2, maxLength: 3 });
    await property(
      [shape, fc.nat(), fc.nat(), fc.array(size, { maxLength: 2 }), flag],
      async (x, at, of, rest, negative) => {
        const axis = at % x.length;
        const batchDims = of % (axis + 1);
        const ids = [...x.slice(0, batchDims), ...rest];
        const count = ids.reduce((product, dimension) => product * dimension, 1);
        const list = Array.from({ length: count }, (_, i) => (i * 7 + of) % (x[axis] as number));
        const op = (t: tf.Tensor): tf.Tensor =>
          tf.gather(t, indices(list, ids), negative ? axis - x.length : axis, batchDims);
        await check(gradientCase("gather", op, [x]));
      },
    );
  });

  it.each(["cumsum", "cumprod"] as const)("%s", async (name) => {
    const shape = fc.array(size, { minLength: 1, maxLength: 3 });
    await property([shape, fc.nat(), flag, flag, seed], async (x, at, exclusive, reverse, start) => {
      const op = (t: tf.Tensor): tf.Tensor => tf[name](t, at % x.length, exclusive, reverse);
      // 0, ½, … 2: zeros among them.
      await check({ name, op: op as GradientCase["op"], inputs: [grid(x, -0.5, start)] });
    });
  });

  it.each(["max", "min", "prod"] as const)("%s", async (name) => {
    const shape = fc.array(size, { minLength: 1, maxLength: 3 });
    await property(
      [shape, fc.array(flag, { minLength: 3, maxLength: 3 }), flag, seed],
      async (x, chosen, keep, start) => {
        const axes = x.flatMap((_, axis) => (chosen[axis] === true ? [axis - x.length] : []));
        // All values differ by a quarter, so that there are no kinks nearby.
        const count = x.reduce((product, dimension) => product * dimension, 1);
        const data = Float32Array.from({ length: count }, (_, i) => (((i * 7 + start) % 29) + 1) / 8);
        const op = (t: tf.Tensor): tf.Tensor => tf[name](t, axes, keep);
        await check({ name, op: op as GradientCase["op"], inputs: [float32(data, x)] });
      },
    );
  });

  it("tile", async () => {
    const axes = fc.array(fc.tuple(size, size), { minLength: 1, maxLength: 4 });
    await property([axes], async (pairs) => {
      const op = (t: tf.Tensor): tf.Tensor => tf.tile(t, pairs.map(([, times]) => times)); // prettier-ignore
      await check(gradientCase("tile", op, [pairs.map(([length]) => length)]));
    });
  });
});

describe("functions that branch on what they compute", () => {
  it.each(BRANCHES)("$name", check);

  it("keeps what is not finite in its own branch", () => {
    const f = (a: tf.Tensor, b: tf.Tensor): tf.Tensor => tf.where(tf.tensor1d([true, false]), a, b);
    const [a, b] = tf.grads(f)([tf.tensor1d([1, 2]), tf.tensor1d([3, 4])], tf.tensor1d([Infinity, 1]));
    expect(a as tf.Tensor).toBeAllClose([Infinity, 0]);
    expect(b as tf.Tensor).toBeAllClose([0, 1]);
  });
});
