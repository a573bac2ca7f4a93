import type { HostTensor } from "@peftjs/core";
import { tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";
import type { Inputs, Op } from "../harness.ts";
import { onnx } from "../harness.ts";

/** ∂ Σ op / ∂ inputs of the compiled function against (f(v + h) − f(v − h)) / 2h of it. */
export async function compareWithDifferences(op: Op, inputs: Inputs): Promise<void> {
  const step = 1e-2;
  const names = Object.keys(inputs);
  const compiled = onnx.compile(({ inputs: named = {} }) => {
    const total = (...all: tf.Tensor[]): tf.Scalar =>
      tf.sum(op(Object.fromEntries(names.map((name, i) => [name, all[i] as tf.Tensor]))));
    const { value, grads } = tf.valueAndGrads(total)(names.map((name) => named[name] as tf.Tensor));
    return { out: { value }, grads: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])) };
  });
  const { grads } = await compiled.run({ inputs });
  for (const name of names) {
    const original = inputs[name] as HostTensor;
    const at = async (index: number, offset: number): Promise<number> => {
      const data = Float32Array.from(original.data);
      data[index] = (data[index] as number) + offset;
      const { out } = await compiled.run({ inputs: { ...inputs, [name]: { ...original, data } as HostTensor } });
      return out?.["value"]?.data[0] as number;
    };
    const numeric: number[] = [];
    for (let i = 0; i < original.data.length; i++)
      numeric.push(((await at(i, step)) - (await at(i, -step))) / (2 * step));
    expect(grads?.[name]?.data).toBeAllClose(numeric, tol.finiteDifference);
  }
  await compiled.dispose();
}
