import { useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { gate } from "./gate.ts";

beforeAll(useCpuBackend);

const x = (): tf.Tensor1D => tf.tensor1d([1, Number.NaN, Number.POSITIVE_INFINITY]);

describe("a gate", () => {
  it.each([1, -0.5, Number.NaN])("is open for %d", (open) => {
    expect(Array.from(gate(x(), tf.scalar(open)).dataSync())).toEqual([1, Number.NaN, Number.POSITIVE_INFINITY]);
  });

  it("lets nothing through that is not finite when it is closed", () => {
    expect(Array.from(gate(x(), tf.scalar(0)).dataSync())).toEqual([0, 0, 0]);
  });

  it("keeps the type", () => {
    const { dtype, shape } = gate(tf.tensor2d([[1, 2]], [1, 2], "int32"), tf.scalar(0));
    expect({ dtype, shape }).toEqual({ dtype: "int32", shape: [1, 2] });
  });

  it.each([
    [1, [3, 3]],
    [0, [0, 0]],
  ] as const)("hands the gradient back when it is %d", (open, expected) => {
    const f = (input: tf.Tensor): tf.Tensor => tf.sum(tf.mul(gate(input, tf.scalar(open)), 3));
    expect(
      Array.from(
        tf
          .grad(f)(tf.tensor1d([1, 2]))
          .dataSync(),
      ),
    ).toEqual(expected);
  });
});
