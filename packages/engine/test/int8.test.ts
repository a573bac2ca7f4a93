import {
  float32,
  inputScales as smoothing,
  quantize,
  widen,
  type HostTensor,
  type Int8Tensor,
  type StoredTensor,
} from "@peftjs/core";
import { gate } from "@peftjs/core/internal";
import type { Engine, Groups, TensorFunction } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { lower } from "../src/onnx/lower.ts";
import { largestFactor } from "../src/onnx/probe.ts";
import { simplify } from "../src/onnx/simplify/simplify.ts";
import { trace } from "../src/onnx/trace/trace.ts";
import { values } from "./harness.ts";

const [ROWS, INNER, OUTER] = [6, 96, 80];

/** Rows that differ by orders of magnitude, one of zeros, and one with an outlier. */
const x = ((): HostTensor => {
  const made = values([ROWS, INNER], -1, 1, 1);
  const data = made.data.map((value, i) => value * [1, 1e-4, 1e4, 0, 1, 30][Math.floor(i / INNER)]!);
  data[4 * INNER + 7] = 50;
  return { ...made, data: data as Float32Array };
})();
const bias = values([OUTER], -1, 1, 2);

/** How a layer's weight may be held, and which way a product may go through it. */
const HELD = [
  { name: "[out, in]", axis: 0, forward: true, transposed: true, shape: [OUTER, INNER] },
  { name: "[in, out]", axis: 1, forward: true, transposed: false, shape: [INNER, OUTER] },
  { name: "[out, in] from behind", axis: 0, forward: false, transposed: false, shape: [INNER, OUTER] },
  { name: "[in, out] from behind", axis: 1, forward: false, transposed: true, shape: [OUTER, INNER] },
] as const;
const LAYOUTS = HELD.flatMap((held) => [
  { ...held, smoothed: false },
  { ...held, name: `${held.name}, with factors of its inputs`, smoothed: true },
]);
type Layout = (typeof LAYOUTS)[number];

function weightOf({ shape, axis, smoothed }: Layout, backward: Int8Tensor["backward"] = "int8"): Int8Tensor {
  const made = values(shape, -1, 1, 3);
  const data = made.data.map((value, i) => {
    const channel = axis === 0 ? Math.floor(i / shape[1]) : i % shape[1];
    return channel === 3 ? 0 : value * (1 + channel);
  });
  const inputScales = Float32Array.from({ length: shape[1 - axis] as number }, (_, j) => 0.25 + (j % 5));
  const options = { axis, backward, ...(smoothed ? { inputScales } : {}) };
  return quantize({ ...made, data: data as Float32Array }, options);
}

/** What the product is by definition, in float64. */
function expected(a: HostTensor, weight: Int8Tensor, { forward, transposed }: Layout): Float64Array {
  const [rows, inner] = a.shape as [number, number];
  const outer = weight.shape[transposed ? 0 : 1] as number;
  const result = new Float64Array(rows * outer);
  const ones = new Float32Array(Math.max(inner, outer)).fill(1);
  const { scales, inputScales = ones } = weight;
  const [terms, columns] = forward ? [inputScales, scales] : [scales, inputScales];
  const at = (k: number, j: number): number => weight.data[transposed ? j * inner + k : k * outer + j] as number;
  for (let i = 0; i < rows; i++) {
    const row = Array.from({ length: inner }, (_, k) =>
      Math.fround((a.data[i * inner + k] as number) * (terms[k] as number)),
    );
    const factor = Math.fround(Math.max(1e-30, ...row.map(Math.abs)) * Math.fround(1 / 127));
    const q = row.map((value) => roundHalfEven(Math.fround(value / factor)));
    for (let j = 0; j < outer; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += (q[k] as number) * at(k, j);
      result[i * outer + j] = sum * factor * (columns[j] as number);
    }
  }
  return result;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** Largest difference in a row relative to the row's largest value. */
function difference(actual: ArrayLike<number>, wanted: ArrayLike<number>, rows = ROWS): number {
  const width = wanted.length / rows;
  const errors = Array.from({ length: rows }, (_, i) => {
    const of = (list: ArrayLike<number>): number[] => Array.from(list).slice(i * width, (i + 1) * width);
    const [a, b] = [of(actual), of(wanted)];
    return Math.max(...a.map((value, j) => Math.abs(value - b[j]!))) / Math.max(1e-30, ...b.map(Math.abs));
  });
  return Math.max(...errors);
}

const product =
  (layout: Layout): TensorFunction =>
  ({ in: { a, w } = {} }) => ({ out: { y: tf.matMul(a as tf.Tensor2D, w as tf.Tensor2D, false, layout.transposed) } });

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine(compiledEngine);
});

async function run(fn: TensorFunction, args: Groups<StoredTensor>, on = engine): Promise<Groups<HostTensor>> {
  const compiled = on.compile(fn);
  const results = await compiled.run(args);
  await compiled.dispose();
  return results;
}

const dataOf = (results: Groups<HostTensor>): Float32Array => results["out"]?.["y"]?.data as Float32Array;

describe.each(LAYOUTS)("a product with a matrix of eight bits, $name", (layout) => {
  const weight = weightOf(layout);

  it("is the product of integers that it is defined as", async () => {
    const actual = dataOf(await run(product(layout), { in: { a: x, w: weight } }));
    expect(difference(actual, expected(x, weight, layout))).toBeLessThan(2e-6);
  });

  it("is near the product of the values, in every row", async () => {
    const actual = dataOf(await run(product(layout), { in: { a: x, w: weight } }));
    const exact = dataOf(await run(product(layout), { in: { a: x, w: widen(weight) } }));
    const error = difference(actual, exact);
    // Half a step for each of 96 terms, most of which cancel; steps are largest in the row with the outlier, 1/127 of it
    // or, where factors of the inputs enlarge it, more.
    expect(error).toBeGreaterThan(1e-3);
    expect(error).toBeLessThan(layout.smoothed ? 0.1 : 0.05);
  });

  it("takes up a bias and a scale", async () => {
    const scaled: TensorFunction = ({ in: { a, w, bias: row } = {} }) => {
      const y = tf.matMul(tf.mul(a as tf.Tensor2D, 0.5), w as tf.Tensor2D, false, layout.transposed);
      return { out: { y: tf.add(y, row as tf.Tensor) } };
    };
    const actual = dataOf(await run(scaled, { in: { a: x, w: weight, bias } }));
    const wanted = expected(x, weight, layout).map((value, i) => 0.5 * value + (bias.data[i % OUTER] as number));
    expect(difference(actual, wanted)).toBeLessThan(2e-6);
  });

  it("is one of the values where gradients are to be float32", async () => {
    const exactly = weightOf(layout, "float32");
    const actual = dataOf(await run(product(layout), { in: { a: x, w: exactly } }));
    const values32 = dataOf(await run(product(layout), { in: { a: x, w: widen(exactly) } }));
    if (layout.forward) expect(difference(actual, expected(x, exactly, layout))).toBeLessThan(2e-6);
    else expect(actual).toEqual(values32);
  });

  it("is one of the values on the eager engine", async () => {
    const eager = await createEngine(eagerEngine);
    const [narrow, wide] = [weight, widen(weight)].map((w) => run(product(layout), { in: { a: x, w } }, eager));
    expect(await narrow).toEqual(await wide);
  });

  it("is computed behind a gate", async () => {
    const fn: TensorFunction = ({ in: { a, w, open } = {} }) => {
      const y = tf.matMul(a as tf.Tensor2D, w as tf.Tensor2D, false, layout.transposed);
      return { out: { y: gate(y, open as tf.Scalar) } };
    };
    const results = [0, 1].map((open) => run(fn, { in: { a: x, w: weight, open: float32([open], []) } }));
    expect(dataOf(await results[0]!).every((value) => value === 0)).toBe(true);
    expect(difference(dataOf(await results[1]!), expected(x, weight, layout))).toBeLessThan(2e-6);
  });
});

describe("a matrix of eight bits", () => {
  const layout = LAYOUTS[0] as Layout;
  const weight = weightOf(layout);

  it.each([
    ["its sum", (w: tf.Tensor) => tf.sum(w, 1)],
    ["a product of itself", (w: tf.Tensor) => tf.matMul(w, w, false, true)],
    ["a product from the left", (w: tf.Tensor) => tf.matMul(w, tf.ones([w.shape[1] as number, 3]))],
    ["rows", (w: tf.Tensor) => tf.gather(w, tf.tensor1d([3, 79, 0, 3], "int32"))],
    ["rows in two dimensions", (w: tf.Tensor) => tf.gather(w, tf.tensor2d([3, 79, 0, 3], [2, 2], "int32"))],
    ["columns", (w: tf.Tensor) => tf.gather(w, tf.tensor1d([5, 79], "int32"), 1)],
    ["columns, counted from the last axis", (w: tf.Tensor) => tf.gather(w, tf.tensor1d([5, 79], "int32"), -1)],
    ["one value of each row", (w: tf.Tensor) => tf.gather(w, tf.fill([w.shape[0] as number], 7, "int32"), 1, 1)],
    ["all of it", (w: tf.Tensor) => w],
  ])("shows its values elsewhere: %s", async (_name, op) => {
    for (const stored of LAYOUTS.map((each) => weightOf(each))) {
      const fn: TensorFunction = ({ in: { w } = {} }) => ({ out: { y: op(w as tf.Tensor) } });
      const [narrow, wide] = [stored, widen(stored)].map((w) => run(fn, { in: { w } }));
      expect(await narrow).toEqual(await wide);
    }
  });

  it("is read in one copy by both passes, whose gradients agree with the eager engine's", async () => {
    const step: TensorFunction = ({ in: { w } = {}, trainable: { a } = {} }) => {
      const loss = (input: tf.Tensor): tf.Scalar =>
        tf.mean(tf.square(tf.tanh(tf.matMul(tf.tanh(input), w as tf.Tensor2D, false, true))));
      const { value, grad } = tf.valueAndGrad(loss)(a as tf.Tensor);
      return { out: { value, y: grad } };
    };
    const small = quantize(values([OUTER, INNER], -0.1, 0.1, 4), { axis: 0 });
    const args = { in: { w: small }, trainable: { a: values([64, INNER], -1, 1, 5) } };
    const eager = await run(step, args, await createEngine(eagerEngine));
    const onnx = await run(step, args);
    // Two roundings of each operand to 127 steps: half a per cent of a product, per pass.
    expect(difference(dataOf(onnx), dataOf(eager), 64)).toBeLessThan(0.03);
    const program = lower(simplify(trace(step, args)), { largest: 127 });
    expect(program.calls.filter(({ kernel }) => kernel === "PeftIntegerProduct")).toHaveLength(2);
    expect(program.inputs.map(({ name, part }) => `${name} ${part ?? "values"}`).sort()).toEqual([
      ...["a values", "w scales", "w values"],
    ]);
  });

  it("is another program for another axis or another kind of gradients", async () => {
    const square = quantize(values([8, 8], -1, 1, 6), { axis: 0 });
    const variants = [
      ...[square, { ...square, axis: 1 as const }, { ...square, backward: "float32" as const }],
      { ...square, inputScales: new Float32Array(8).fill(2) },
    ];
    const compiled = engine.compile(({ in: { w } = {} }) => ({ out: { y: tf.neg(w as tf.Tensor) } }));
    for (const w of [...variants, square]) await compiled.run({ in: { w } });
    expect(compiled.counters.programsBuilt).toBe(4);
    await compiled.dispose();
  });

  it("is refused without a factor for every channel", async () => {
    const wrong = [{ scales: weight.scales.subarray(1) }, { inputScales: weight.scales }, { shape: [INNER * OUTER] }];
    for (const part of wrong) {
      const args = { in: { a: x, w: { ...weight, ...part } } };
      await expect(run(product(layout), args)).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    }
  });

  it.each([Number.NaN, Infinity, -Infinity])("does not make a number of %s", async (bad) => {
    for (const place of [0, 5, INNER - 1]) {
      const a = values([2, INNER], -1, 1, 7);
      a.data[place] = bad;
      const y = dataOf(await run(product(layout), { in: { a, w: weight } }));
      expect(y.slice(0, OUTER).some(Number.isFinite)).toBe(false);
      expect(y.slice(OUTER).every(Number.isFinite)).toBe(true);
    }
  });

  it("may be a product of no rows", async () => {
    const none = float32([], [0, INNER]);
    expect((await run(product(layout), { in: { a: none, w: weight } }))["out"]?.["y"]?.shape).toEqual([0, OUTER]);
  });
});

describe("factors of the inputs", () => {
  const gain = Float32Array.from({ length: INNER }, (_, j) => (j === 7 || j === 40 ? 30 : 1));
  const shift = new Float32Array(INNER).fill(0.5);
  /** A normalisation's output with two large features, and weights that reckon with them. */
  const normed = ((): HostTensor => {
    const made = values([ROWS, INNER], -2, 2, 8);
    return { ...made, data: made.data.map((value, i) => value * gain[i % INNER]! + 0.5) as Float32Array };
  })();
  const weight = ((): HostTensor => {
    const made = values([OUTER, INNER], -1, 1, 9);
    return { ...made, data: made.data.map((value, i) => value / gain[i % INNER]!) as Float32Array };
  })();

  it("leave the other features their digits beside large ones, forward and backward", async () => {
    const norm = { weight: gain, bias: shift };
    const plain = quantize(weight, { axis: 0 });
    const smoothed = quantize(weight, { axis: 0, inputScales: smoothing(weight, { axis: 0, norm }) });
    for (const [transposed, a, most] of [
      [true, normed, 0.35],
      [false, values([ROWS, OUTER], -1, 1, 10), 1],
    ] as const) {
      const fn: TensorFunction = ({ in: { a: left, w } = {} }) => ({
        out: { y: tf.matMul(left as tf.Tensor2D, w as tf.Tensor2D, false, transposed) },
      });
      const exact = dataOf(await run(fn, { in: { a, w: weight } }));
      const error = async (w: Int8Tensor): Promise<number> => {
        const y = dataOf(await run(fn, { in: { a, w } }));
        return Math.sqrt(y.reduce((sum, value, i) => sum + (value - exact[i]!) ** 2, 0));
      };
      expect(await error(smoothed)).toBeLessThan(most * (await error(plain)));
    }
  });
});

describe("the largest integer of a product", () => {
  it("is known for the processor, and there is none elsewhere", async () => {
    expect([127, 63]).toContain(await largestFactor("cpu"));
    expect(await largestFactor("webgpu")).toBeNull();
    expect(await largestFactor("cuda")).toBeNull();
  });

  it("keeps sums of two products of bytes within 16 bits where it has to", () => {
    const layout = LAYOUTS[0] as Layout;
    const calls = (largest: number | null): string[] =>
      lower(simplify(trace(product(layout), { in: { a: x, w: weightOf(layout) } })), { largest }).calls.map(
        ({ kernel, attributes }) => `${kernel} ${String(attributes["largest"])}`,
      );
    expect(calls(63)).toContain("PeftIntegerProduct 63");
    expect(2 * (2 * 63 + 1) * 127).toBeLessThan(2 ** 15);
    // A device without such products computes with the values.
    expect(calls(null).some((call) => call.startsWith("PeftIntegerProduct"))).toBe(false);
  });
});
