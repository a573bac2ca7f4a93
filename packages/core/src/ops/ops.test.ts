import { gradientCheck, installMatchers, tol, useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { ensureTfjs } from "../gradients.ts";
import { dropoutMask } from "./dropout.ts";
import { attention, crossEntropy, gelu, geluTanh, recompute, silu, stopGradient } from "./index.ts";

installMatchers();
beforeAll(() => {
  ensureTfjs();
  useCpuBackend();
});

const wave = (shape: number[], phase: number): tf.Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Array.from({ length: size }, (_, i) => Math.sin(1.7 * i + phase)),
    shape,
  );
};
const dy = (y: tf.Tensor): tf.Tensor => wave(y.shape, 5);

/** ∂ Σ w·fn / ∂ inputs with fixed w. */
function gradientsOf(fn: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): tf.Tensor[] {
  return tf.grads((...args: tf.Tensor[]) => {
    const y = fn(...args);
    return tf.sum(tf.mul(y, dy(y)));
  })(inputs);
}

function expectSame(actual: readonly tf.Tensor[], expected: readonly tf.Tensor[]): void {
  expect(actual.map(({ shape }) => shape)).toEqual(expected.map(({ shape }) => shape));
  actual.forEach((tensor, i) =>
    expect(tensor.dataSync()).toBeAllClose((expected[i] as tf.Tensor).dataSync() as Float32Array, tol.deep),
  );
}

describe("attention", () => {
  const inputs = [wave([2, 3, 4, 5], 0), wave([2, 3, 6, 5], 1), wave([2, 3, 6, 5], 2)];
  const key = tf.tensor1d([3, 7], "int32");
  const site = { rate: 0.4, key, stream: 9 };

  it.each([
    ["plain", null, null],
    ["with a bias per key", [2, 1, 1, 6], null],
    ["with a bias per head and dropout", [3, 4, 6], site],
  ] as const)("%s equals its formula, gradients included", (_, biasShape, dropout) => {
    const formula = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, bias?: tf.Tensor): tf.Tensor => {
      const scores = tf.mul(tf.matMul(q, k, false, true), 0.3);
      const p = tf.softmax(bias === undefined ? scores : tf.add(scores, bias));
      return tf.matMul(dropout === null ? p : tf.mul(p, dropoutMask(p.shape, dropout)), v);
    };
    const op = (query: tf.Tensor, k: tf.Tensor, value: tf.Tensor, bias?: tf.Tensor): tf.Tensor =>
      attention({ query, key: k, value } as Parameters<typeof attention>[0], {
        scale: 0.3,
        bias: bias ?? null,
        dropout,
      });
    const all = biasShape === null ? inputs : [...inputs, wave([...biasShape], 3)];
    const call = (fn: typeof formula): tf.Tensor => fn(...(all as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor?]));
    expectSame([call(op)], [call(formula)]);
    expectSame(gradientsOf(op as never, all), gradientsOf(formula as never, all));
  });
});

describe("crossEntropy", () => {
  const logits = tf.mul(wave([4, 3], 1), 4) as tf.Tensor2D;

  it("equals −log softmax of the label, weighted, with its gradient; a label of no class adds nothing", () => {
    const labels = tf.tensor1d([2, 0, -100, 1], "int32");
    const weights = tf.tensor1d([1, 2, 1, 0.5]);
    const formula = (x: tf.Tensor): tf.Tensor => {
      const picked = tf.sum(tf.mul(tf.logSoftmax(x), tf.oneHot(labels, 3)), -1);
      return tf.div(tf.neg(tf.sum(tf.mul(picked, weights))), tf.sum(weights));
    };
    expectSame([crossEntropy(logits, labels, weights)], [formula(logits)]);
    const op = (x: tf.Tensor): tf.Tensor => crossEntropy(x as tf.Tensor2D, labels, weights);
    expectSame([tf.grad(op)(logits)], [tf.grad(formula)(logits)]);
  });

  it("takes labels that are made on the way", () => {
    const op = (x: tf.Tensor): tf.Tensor =>
      crossEntropy(x as tf.Tensor2D, tf.mul(tf.tensor1d([1, 0, 1, 0], "int32"), tf.scalar(2, "int32")) as tf.Tensor1D);
    const fixed = (x: tf.Tensor): tf.Tensor => crossEntropy(x as tf.Tensor2D, tf.tensor1d([2, 0, 2, 0], "int32"));
    expectSame([tf.grad(op)(logits)], [tf.grad(fixed)(logits)]);
  });
});

describe("activations", () => {
  it.each([
    ["gelu", gelu],
    ["geluTanh", geluTanh],
    ["silu", silu],
    ["silu with another slope", (x: tf.Tensor) => silu(x, 1.702)],
  ])("%s has the gradient of its values", (_, fn) => {
    gradientCheck((x) => fn(x as tf.Tensor), [tf.mul(wave([3, 7], 0), 3)]);
  });

  it("geluTanh equals its formula", () => {
    const x = tf.mul(wave([50], 0), 6);
    const formula = Array.from(
      x.dataSync(),
      (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
    );
    expect(geluTanh(x).dataSync()).toBeAllClose(formula, tol.float32);
  });
});

describe("recompute", () => {
  const inputs = [wave([3, 4], 0), wave([4, 4], 1), wave([4], 2)];
  const block = (x: tf.Tensor, w: tf.Tensor, b: tf.Tensor): tf.Tensor => tf.add(tf.tanh(tf.add(tf.matMul(x, w), b)), x);

  it("gives the gradients of the function, nested and repeated", () => {
    const twice = (run: typeof block) => (x: tf.Tensor, w: tf.Tensor, b: tf.Tensor) => run(run(x, w, b), w, b);
    const kept = (x: tf.Tensor, w: tf.Tensor, b: tf.Tensor): tf.Tensor => recompute(block as never, [x, w, b]);
    expectSame(gradientsOf(twice(kept) as never, inputs), gradientsOf(twice(block) as never, inputs));
    const nested = (x: tf.Tensor, w: tf.Tensor, b: tf.Tensor): tf.Tensor => recompute(twice(kept) as never, [x, w, b]);
    expectSame(gradientsOf(nested as never, inputs), gradientsOf(twice(block) as never, inputs));
  });

  it("gives zero for an input that the result does not depend on", () => {
    const [dx, unused] = gradientsOf(
      (x, other) => recompute((a) => tf.square(a), [x, other]),
      [wave([3], 0), wave([2], 1)],
    );
    expect(dx?.shape).toEqual([3]);
    expect(Array.from(unused?.dataSync() ?? [])).toEqual([0, 0]);
  });

  it("leaves no tensors behind", () => {
    tf.tidy(() => void gradientsOf((x, w, b) => recompute(block as never, [x, w, b]), inputs));
    const before = tf.memory().numTensors;
    tf.tidy(() => void gradientsOf((x, w, b) => recompute(block as never, [x, w, b]), inputs));
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("stopGradient", () => {
  it("is the identity, and a constant to the gradient", () => {
    const x = wave([3, 4], 1);
    expect(stopGradient(x).dataSync()).toEqual(x.dataSync());
    // ∂(x·sg(x²)) = x², not 3x².
    expectSame(
      gradientsOf((input) => tf.mul(input, stopGradient(tf.square(input))), [x]),
      [tf.mul(tf.square(x), dy(x))],
    );
    // What is used nowhere else has none.
    const { value, grads } = tf.engine().gradients(() => tf.sum(tf.add(stopGradient(x), 1)), [x], undefined, true);
    expect(value.dataSync()[0]).toBeCloseTo(tf.sum(tf.add(x, 1)).dataSync()[0]!, 5);
    expect(grads[0] ?? null).toBeNull();
  });
});
