import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

/**
 * Inverted dropout with an explicit key: y = x·m/(1 − rate), m ~ Bernoulli(1 − rate).
 * `key` int32 [2] holds the run's seed and the step; `stream` numbers the call site, so that sites draw independently.
 * The same key, stream and shape give the same mask on every backend.
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, key: tf.Tensor1D, stream: number): T {
  if (rate === 0) return x;
  return tf.mul(x, dropoutMask(x.shape, { rate, key, stream })) as T;
}

/** One place where dropout is drawn. */
export interface DropoutSite {
  readonly rate: number;
  readonly key: tf.Tensor1D;
  readonly stream: number;
}

/** 1/(1 − rate) for elements that stay, else 0. The shape is seen as [rows, columns] with the last axis as columns. */
export function dropoutMask(shape: readonly number[], { rate, key, stream }: DropoutSite): tf.Tensor {
  const stays = composite("PeftDropoutMask", { key }, { shape, rate, stream }, () => {
    const [seed, step] = key.dataSync() as Int32Array;
    return tf.tensor(hostMask(shape, rate, seed ?? 0, step ?? 0, stream), [...shape], "bool");
  });
  return tf.mul(tf.cast(stays, "float32"), 1 / (1 - rate));
}

/** Finalizer of MurmurHash3: every input bit reaches every output bit. */
function mix32(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}

function hostMask(shape: readonly number[], rate: number, seed: number, step: number, stream: number): Uint8Array {
  const columns = shape.at(-1) ?? 1;
  const rows = columns === 0 ? 0 : shape.slice(0, -1).reduce((product, dimension) => product * dimension, 1);
  const base = mix32(mix32(mix32(seed) ^ step) ^ stream);
  const threshold = dropThreshold(rate);
  const columnKeys = Int32Array.from({ length: columns }, (_, j) => mix32(mix32(base ^ 0x5bd1e995) + j));
  const mask = new Uint8Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const rowKey = mix32(base + i);
    for (let j = 0; j < columns; j++) {
      const h = rowKey ^ (columnKeys[j] as number);
      mask[i * columns + j] = Math.imul(h, h | 1) >= threshold ? 1 : 0;
    }
  }
  return mask;
}

/** Signed 32-bit bound: a uniform 32-bit integer falls below it with probability `rate`. */
export function dropThreshold(rate: number): number {
  return Math.round(rate * 2 ** 32 - 2 ** 31) | 0;
}
