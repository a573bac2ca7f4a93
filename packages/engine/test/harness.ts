import type { HostTensor } from "@peftjs/core";
import { float32 } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import type { Tolerance } from "@peftjs/testkit";
import { compiledEngine, eagerEngine, installMatchers, tol } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect } from "vitest";

export type Inputs = Record<string, HostTensor>;
export type Op = (inputs: Record<string, tf.Tensor>) => tf.Tensor;

installMatchers();

export let cpu: Engine;
export let onnx: Engine;

beforeAll(async () => {
  cpu = await createEngine(eagerEngine);
  onnx = await createEngine(compiledEngine);
});

export async function run(engine: Engine, op: Op, inputs: Inputs): Promise<HostTensor> {
  const compiled = engine.compile(({ inputs: named = {} }) => ({ out: { y: op(named) } }));
  const { out } = await compiled.run({ inputs });
  await compiled.dispose();
  return out?.["y"] as HostTensor;
}

/** The compiled result against the same kernel of the tfjs cpu backend. */
export async function compare(op: Op, inputs: Inputs, tolerance: Tolerance = tol.float32): Promise<void> {
  const [expected, actual] = [await run(cpu, op, inputs), await run(onnx, op, inputs)];
  expect(actual.shape).toEqual(expected.shape);
  expect(actual.dtype).toBe(expected.dtype);
  expect(actual.data).toBeAllClose(expected.data, tolerance);
}

/** ∂ Σ w·op / ∂ inputs with fixed weights w, in both engines. */
export async function compareGradients(op: Op, inputs: Inputs): Promise<void> {
  const names = Object.keys(inputs);
  const gradients = (engine: Engine): Promise<Record<string, Record<string, HostTensor>>> => {
    const compiled = engine.compile(({ inputs: named = {} }) => {
      const weighted = (...values: tf.Tensor[]): tf.Scalar => {
        const y = op(Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor])));
        const weights = tf.reshape(tf.sin(tf.range(0, y.size)), y.shape);
        return tf.sum(tf.mul(y, weights));
      };
      const grads = tf.grads(weighted)(names.map((name) => named[name] as tf.Tensor));
      return { grads: Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])) };
    });
    return compiled.run({ inputs }) as Promise<Record<string, Record<string, HostTensor>>>;
  };
  const [expected, actual] = [await gradients(cpu), await gradients(onnx)];
  for (const name of names)
    expect(actual["grads"]?.[name]?.data).toBeAllClose(expected["grads"]?.[name]?.data as Float32Array, tol.deep);
}

/** Pseudo-random numbers in [from, to), the same for the same seed. */
export function values(shape: readonly number[], from = -2, to = 2, seed = 1): HostTensor {
  let state = seed;
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const next = (): number => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32) * (to - from) + from;
  return float32(Float32Array.from({ length: size }, next), shape);
}
