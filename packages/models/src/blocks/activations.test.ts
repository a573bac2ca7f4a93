import { ensureTfjs } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { activation, activationNames } from "./activations.ts";

beforeAll(async () => {
  ensureTfjs();
  await tf.setBackend("cpu");
});

const points = [-3, -1, -0.5, 0.5, 1, 3];

/** Values of the Python library, rounded to seven digits. */
const expected: Readonly<Record<string, readonly number[]>> = {
  gelu: [-0.0040497, -0.1586553, -0.1542688, 0.3457312, 0.8413447, 2.9959503],
  gelu_new: [-0.0036374, -0.158808, -0.154286, 0.345714, 0.841192, 2.9963626],
  quick_gelu: [-0.0180713, -0.1542042, -0.1496116, 0.3503884, 0.8457958, 2.9819287],
  silu: [-0.1422776, -0.2689414, -0.1887703, 0.3112297, 0.7310586, 2.8577224],
  mish: [-0.1456475, -0.3034015, -0.2207438, 0.3752452, 0.8650984, 2.986535],
  relu: [0, 0, 0, 0.5, 1, 3],
  relu2: [0, 0, 0, 0.25, 1, 9],
  linear: points,
};

describe("activations", () => {
  it.each(Object.entries(expected))("%s", (name, values) => {
    const result = activation(name)(tf.tensor1d(points)).dataSync();
    values.forEach((value, i) => expect(Math.abs((result[i] as number) - value)).toBeLessThan(4e-7));
  });

  it("all have a gradient that agrees with differences", () => {
    const x = tf.tensor1d([-1.3, -0.4, 0.6, 1.7]);
    for (const name of activationNames.filter((other) => other !== "linear")) {
      const f = (input: tf.Tensor): tf.Tensor => activation(name)(input);
      const step = 1e-2;
      const slope = tf.div(tf.sub(f(tf.add(x, step)), f(tf.sub(x, step))), 2 * step).dataSync();
      const gradient = tf.grad(f)(x).dataSync();
      slope.forEach((value, i) => expect(Math.abs(value - (gradient[i] as number)), name).toBeLessThan(1e-3));
    }
  });

  it("unknown names are refused, inherited ones too", () => {
    expect(() => activation("gelou")).toThrow(/gelou/u);
    expect(() => activation("toString")).toThrow(/toString/u);
  });
});
