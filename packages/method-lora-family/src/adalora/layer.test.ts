import { gradientCheck, installMatchers, useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { adaloraDelta, adaloraUpdate, averageImportance, orthogonalityPenalty } from "./layer.ts";

installMatchers();
beforeAll(() => {
  useCpuBackend();
});

const tensors = () => ({
  a: tf.tensor2d([1, 0, 0, 1], [2, 2]),
  e: tf.tensor2d([2, 0.5], [2, 1]),
  b: tf.tensor2d([1, 0, 1, 1, 0, 2], [3, 2]),
  ranknum: tf.tensor1d([2]),
  alpha: 8,
});

describe("the update", () => {
  it("merges into what the worked example says", () => {
    const expected = [7.99996, 0, 7.99996, 1.99999, 0, 3.99998];
    expect(adaloraDelta(tensors(), "out_in")).toBeAllClose(tf.tensor2d(expected, [3, 2]));
    expect(adaloraDelta(tensors(), "in_out")).toBeAllClose(tf.transpose(tf.tensor2d(expected, [3, 2])));
  });

  it("is x·ΔWᵀ", () => {
    const x = tf.tensor2d([1, 2, -1, 0.5], [2, 2]);
    expect(adaloraUpdate(x, tensors())).toBeAllClose(tf.matMul(x, adaloraDelta(tensors(), "out_in"), false, true));
  });
});

describe("orthogonalityPenalty", () => {
  const a = () => tf.tensor2d([0.6, 0.8, 0, 0.5], [2, 2]);
  const b = () => tf.tensor2d([1, 0, 0, 0.5, 0, 0.5], [3, 2]);

  it("is what the worked example says", () => {
    const penalty = orthogonalityPenalty([{ a: a(), b: b() }], { weight: 0.5, squared: false });
    expect(penalty).toBeAllClose(tf.scalar(0.35985368));
    const norms = [0.93941471, 0.5];
    const squared = orthogonalityPenalty([{ a: a(), b: b() }], { weight: 0.5, squared: true });
    expect(squared).toBeAllClose(tf.scalar(0.5 * norms.reduce((sum, norm) => sum + norm ** 2, 0)));
  });

  it.each([true, false])("has the gradient of finite differences, squared: %s", (squared) => {
    const f = (...[a, b]: tf.Tensor[]): tf.Tensor =>
      orthogonalityPenalty([{ a: a as tf.Tensor2D, b: b as tf.Tensor2D }], { weight: 0.5, squared });
    gradientCheck(f, [a(), b()], { step: 1e-3 });
  });

  it("has the gradient zero where a factor is orthonormal", () => {
    const f = (a: tf.Tensor): tf.Scalar =>
      orthogonalityPenalty([{ a: a as tf.Tensor2D, b: tf.eye(2) }], { weight: 1, squared: false });
    const gradient = tf.grad(f)(tf.eye(2));
    expect(gradient).toBeAllClose(tf.zeros([2, 2]));
  });
});

describe("averageImportance", () => {
  it("is what the worked example says", () => {
    const steps = [
      [0.5, -0.2, 0.015, 0.01275],
      [0.4, 0.1, 0.01875, 0.014025],
      [0.3, 0.3, 0.0294375, 0.021005625],
    ] as const;
    let average = { sensitivity: tf.scalar(0) as tf.Tensor, uncertainty: tf.scalar(0) as tf.Tensor };
    for (const [p, g, sensitivity, uncertainty] of steps) {
      const [parameter, gradient] = [tf.scalar(p), tf.scalar(g)];
      average = averageImportance({ ...average, parameter, gradient, beta1: 0.85, beta2: 0.85 });
      expect(average.sensitivity).toBeAllClose(tf.scalar(sensitivity));
      expect(average.uncertainty).toBeAllClose(tf.scalar(uncertainty));
    }
  });
});
