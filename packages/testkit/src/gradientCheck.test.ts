import * as tf from "@tensorflow/tfjs-core";
import { useCpuBackend } from "./tfjs.ts";
import { describe, expect, it } from "vitest";
import { gradientCheck } from "./index.ts";

useCpuBackend();

describe("gradientCheck", () => {
  it("accepts a right gradient", () => {
    gradientCheck(
      (x, y) => tf.mul(tf.sin(x), tf.sum(tf.square(y))),
      [tf.tensor1d([0.3, -1.2]), tf.tensor2d([[1, 0.5]])],
    );
  });

  it("rejects a wrong gradient and names the element", () => {
    const wrong = tf.customGrad((x: tf.Tensor | ((saved: tf.Tensor[]) => void)) => {
      const input = x as tf.Tensor;
      return { value: tf.square(input), gradFunc: (dy: tf.Tensor) => tf.mul(dy, 2) };
    });
    expect(() => gradientCheck((x) => wrong(x), [tf.tensor1d([1, 2])])).toThrow(
      /input 0 \[2\], element 1: 2, finite differences say (4\b|3\.99)/u,
    );
  });
});
