import { float32, zeros } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";

const SIZE = 2048;
const RUNS = 20;

/** GFLOP/s of one large float32 matrix product, the best of a few: what this machine can do at most. */
export async function measurePeak(threads: number): Promise<number> {
  const engine = await createEngine({ kind: "onnx", threads });
  const product = engine.compile(({ x: { a, b } = {} }) => ({
    x: { y: tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D) },
  }));
  const random = (): ReturnType<typeof float32> =>
    float32(
      Float32Array.from({ length: SIZE ** 2 }, (_, i) => ((i * 7919) % 1000) / 1000),
      [SIZE, SIZE],
    );
  const args = { x: { a: random(), b: random() } };
  // Into memory that is there already: allocating the result is no part of the product.
  const into = { x: { y: zeros([SIZE, SIZE]) } };
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < RUNS; i++) {
    const began = performance.now();
    await product.run(args, into);
    best = Math.min(best, performance.now() - began);
  }
  await product.dispose();
  return (2 * SIZE ** 3) / (best * 1e6);
}
