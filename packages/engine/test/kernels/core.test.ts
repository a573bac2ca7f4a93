import type { HostTensor } from "@peftjs/core";
import { dropout, float32, gelu, geluTanh, int32, layerNorm, silu } from "@peftjs/core";
import { tol } from "@peftjs/testkit";
import type * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import type { Op } from "../harness.ts";
import { compare, compareGradients, onnx, run, values } from "../harness.ts";

describe("operations of core", () => {
  it("gelu and layerNorm with their gradients", async () => {
    const inputs = { x: values([5, 8], -4, 4), gamma: values([8], 0.5, 1.5, 2), beta: values([8], -1, 1, 3) };
    const normalized: Op = ({ x, gamma, beta }) =>
      layerNorm(x as tf.Tensor, gamma as tf.Tensor, beta as tf.Tensor, 1e-5);
    await compare(normalized, inputs);
    await compareGradients(normalized, inputs);
    await compare(({ x }) => gelu(x as tf.Tensor), { x: inputs.x });
    await compareGradients(({ x }) => gelu(x as tf.Tensor), { x: inputs.x });
  });

  it.each([
    ["geluTanh", geluTanh],
    ["silu", silu],
    ["silu with another slope", (x: tf.Tensor) => silu(x, 1.702)],
  ])("%s with its gradient, far from zero as well", async (_, fn) => {
    const op: Op = ({ x }) => fn(x as tf.Tensor);
    for (const bound of [4, 40]) {
      const inputs = { x: values([5, 80], -bound, bound) };
      // ONNX Runtime's σ is right to 1e-7, which the product with x makes larger.
      await compare(op, inputs, { ...tol.float32, absolute: Math.max(1e-6, 1e-7 * bound) });
      await compareGradients(op, inputs);
    }
  });

  it("dropout draws the same mask in both engines, another one per step and per call", async () => {
    const x = float32(new Float32Array(64 * 96).fill(1), [64, 96]);
    const drop =
      (stream: number): Op =>
      ({ x: t, key }) =>
        dropout(t as tf.Tensor, 0.25, key as tf.Tensor1D, stream);
    const first = { x, key: int32([3, 1], [2]) };
    await compare(drop(1), first);
    const masks = [
      await run(onnx, drop(1), first),
      await run(onnx, drop(2), first),
      await run(onnx, drop(1), { x, key: int32([3, 2], [2]) }),
    ];
    const kept = masks.map(
      ({ data }) => (data as Float32Array).reduce((sum, value) => sum + Math.sign(value), 0) / x.data.length,
    );
    for (const share of kept) expect(Math.abs(share - 0.75)).toBeLessThan(0.02);
    const both = (a: HostTensor, b: HostTensor): number =>
      (a.data as Float32Array).reduce((sum, value, i) => sum + Math.sign(value * (b.data[i] as number)), 0) /
      x.data.length;
    // Independent masks keep a place together with probability 0.75².
    expect(Math.abs(both(masks[0] as HostTensor, masks[1] as HostTensor) - 0.5625)).toBeLessThan(0.02);
    expect(Math.abs(both(masks[0] as HostTensor, masks[2] as HostTensor) - 0.5625)).toBeLessThan(0.02);
  });
});
