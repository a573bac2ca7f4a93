import { readFileSync } from "node:fs";
import { installMatchers, useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { activate, nonLinearities } from "./activations.ts";
import { adaptedLayer, bottleneck } from "./layer.ts";
import type { BottleneckTensors, Placement } from "./layer.ts";

beforeAll(() => {
  installMatchers();
  useCpuBackend();
});

const x = () => tf.tensor2d([[1, 2, -1]]);
const base = (input: tf.Tensor2D): tf.Tensor2D =>
  tf.matMul(
    input,
    tf.tensor2d([
      [0.5, -0.25, 0.1],
      [0.2, 0.3, -0.4],
    ]),
    false,
    true,
  );
const wideDown = [
  [0.1, -0.2, 0.3],
  [0.4, 0, -0.1],
];

interface Example {
  readonly placement: Placement;
  readonly down: number[][];
  readonly up: number[][];
  /** The layer's output by c. */
  readonly expected: Readonly<Record<string, readonly number[]>>;
}

/** Worked by hand with tanh; without an adapter the layer gives (−0.1, 1.2). */
const examples: readonly Example[] = [
  {
    placement: "before",
    down: wideDown,
    up: [
      [0.2, 0.1],
      [-0.3, 0.5],
      [0, 0.25],
    ],
    expected: { 1: [-0.21708953, 1.25920068], 0.25: [-0.12927238, 1.21480017] },
  },
  {
    placement: "after",
    down: [
      [0.3, -0.6],
      [0.2, 0.1],
    ],
    up: [
      [0.5, 0.25],
      [-0.4, 1],
    ],
    expected: { 1: [-0.39265748, 1.55372758], 0.25: [-0.17316437, 1.28843189] },
  },
  {
    placement: "parallel",
    down: wideDown,
    up: [
      [0.2, -0.1],
      [0.3, 0.4],
    ],
    expected: { 1: [-0.25362163, 1.22373199], 0.25: [-0.13840541, 1.205933] },
  },
];

function output({ placement, ...matrices }: Omit<Example, "expected">, given: Partial<BottleneckTensors> = {}) {
  const tensors: BottleneckTensors = {
    ...{ down: tf.tensor2d(matrices.down), up: tf.tensor2d(matrices.up), scale: 1, nonLinearity: "tanh" },
    ...given,
  };
  return adaptedLayer(x(), { placement, base, adapter: (input) => bottleneck(input, tensors) });
}

describe.each(examples)("an adapter $placement a layer", ({ expected, ...example }) => {
  it.each(Object.entries(expected))("with c = %s gives the worked numbers", (c, y) => {
    // Two units in the last place of a float32 of that size.
    expect(output(example, { scale: Number(c) })).toBeAllClose([y], { absolute: 2.4e-7, relative: 0 });
  });

  it("takes c as a tensor, and scales what it changes: y = y₀ + c·(y₁ − y₀)", () => {
    const [y0, y1] = [base(x()), output(example)];
    for (const c of [0, 0.25, -1.5]) {
      const tensor = output(example, { scale: tf.tensor1d([c]) });
      expect(tensor).toBeAllClose(tf.add(y0, tf.mul(c, tf.sub(y1, y0))));
      expect(tensor).toBeAllClose(output(example, { scale: c }));
    }
  });

  it("changes nothing while U is zero", () => {
    const up = tf.zerosLike(tf.tensor2d(example.up));
    expect(Array.from(output(example, { up }).dataSync())).toEqual(Array.from(base(x()).dataSync()));
  });
});

describe("bottleneck", () => {
  it("adds its biases: c·(act(x·Dᵀ + e)·Uᵀ + g)", () => {
    const tensors = { down: tf.tensor2d([[1, -1]]), up: tf.tensor2d([[2], [-3]]), nonLinearity: "relu" } as const;
    const biases = { downBias: tf.tensor1d([0.5]), upBias: tf.tensor1d([10, 20]) };
    const input = tf.tensor2d([
      [1, 2],
      [3, 1],
    ]);
    // act: relu(−1 + 0.5) = 0, relu(2 + 0.5) = 2.5.
    expect(bottleneck(input, { ...tensors, ...biases, scale: 2 })).toBeAllClose([
      [20, 40],
      [30, 25],
    ]);
  });

  it("has the functions of the Python libraries, each with a gradient", () => {
    const file = new URL("../../../../fixtures/bottleneck/activations.json", import.meta.url);
    const { points, values } = JSON.parse(readFileSync(file, "utf8")) as {
      readonly points: number[];
      readonly values: Readonly<Record<string, number[]>>;
    };
    expect(Object.keys(values).sort()).toEqual([...nonLinearities].sort());
    const column = tf.tensor2d(points, [points.length, 1]);
    for (const name of nonLinearities) {
      expect(activate(column, name).dataSync(), name).toBeAllClose(values[name] as number[]);
      const step = 1e-2;
      // tfjs finds no gradient of what is the input itself.
      const f = (input: tf.Tensor): tf.Tensor => tf.mul(activate(input as tf.Tensor2D, name), 1);
      const away = tf.tensor2d([-1.3, -0.4, 0.6, 1.7], [4, 1]);
      const slope = tf.div(tf.sub(f(tf.add(away, step)), f(tf.sub(away, step))), 2 * step);
      expect(tf.grad(f)(away), name).toBeAllClose(slope, { absolute: 1e-3, relative: 0 });
    }
  });
});
