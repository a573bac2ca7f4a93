import { float32 } from "@peftjs/core";
import type { Groups } from "@peftjs/engine";
import { createEngine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { expect, it } from "vitest";

const LAYERS = 4;
const WIDTH = 2048;
const RANK = 4;
const LENGTHS = [8, 16, 24, 32];

/** A step of sequences of one length: products with large frozen weights, beside them small ones that learn. */
function step({ frozen = {}, trainable = {}, batch = {} }: Groups<tf.Tensor>): Groups<tf.Tensor> {
  const names = Object.keys(trainable);
  const loss = (...values: tf.Tensor[]): tf.Scalar => {
    const x = values.reduce<tf.Tensor>((input, down, i) => {
      const weight = frozen[`w${i}`] as tf.Tensor;
      const beside = tf.matMul(tf.matMul(input, down), down, false, true);
      return tf.tanh(tf.add(tf.matMul(input, weight, false, true), beside));
    }, batch["x"] as tf.Tensor);
    return tf.mean(tf.square(x));
  };
  const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => trainable[name] as tf.Tensor));
  return {
    metrics: { loss: value },
    trainable: Object.fromEntries(
      names.map((name, i) => [name, tf.sub(trainable[name] as tf.Tensor, grads[i] as tf.Tensor)]),
    ),
  };
}

const wave = (shape: readonly [number, number], scale: number): ReturnType<typeof float32> =>
  float32(
    Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => scale * (((i * 37) % 101) / 50 - 1)),
    shape,
  );

const layers = Array.from({ length: LAYERS }, (_, i) => i);

it("programs for several lengths share the memory of the frozen weights", async () => {
  const frozen = Object.fromEntries(layers.map((i) => [`w${i}`, wave([WIDTH, WIDTH], 0.02)]));
  const trainable = Object.fromEntries(layers.map((i) => [`a${i}`, wave([WIDTH, RANK], 0.01)]));
  const weights = LAYERS * WIDTH * WIDTH * 4;
  const engine = await createEngine({ kind: "onnx", threads: 2 });
  const compiled = engine.compile(step, { constant: ["frozen"] });
  const run = async (length: number): Promise<void> => {
    const batch = { x: wave([length, WIDTH], 1) };
    const { metrics } = await compiled.run({ frozen, trainable, batch }, { trainable });
    expect(metrics?.["loss"]?.data[0]).toBeGreaterThan(0);
  };
  const start = process.memoryUsage();
  const [shortest = 0, ...longer] = LENGTHS;
  await run(shortest);
  const first = process.memoryUsage();
  for (const length of longer) await run(length);
  const last = process.memoryUsage();
  for (const kind of ["rss", "arrayBuffers"] as const) {
    // The first one loads ONNX Runtime's code as well.
    expect(first[kind] - start[kind], kind).toBeLessThan(0.75 * weights);
    expect((last[kind] - first[kind]) / longer.length, kind).toBeLessThan(0.25 * weights);
  }
  for (const length of LENGTHS) await run(length);
  expect(compiled.counters).toMatchObject({
    programsBuilt: LENGTHS.length,
    programsEvicted: 0,
    runs: 2 * LENGTHS.length,
  });
  await compiled.dispose();
});
