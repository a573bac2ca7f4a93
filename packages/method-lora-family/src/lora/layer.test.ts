import { createGenerator } from "@peftjs/core";
import { useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { loraDelta, loraEmbeddingUpdate, loraUpdate } from "./layer.ts";

beforeAll(() => {
  useCpuBackend();
});

const w = [1, 2, 3, 4, 0, -1];
const a = [0.5, -1];
const b = [0.2, -0.4, 1];
const tensors = () => ({ a: tf.tensor2d(a, [1, 2]), b: tf.tensor2d(b, [3, 1]), scale: 2 });

function close(actual: ArrayLike<number>, expected: readonly number[], relative = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value), `element ${i}: ${actual[i]} instead of ${value}`).toBeLessThanOrEqual(
      1e-6 + relative * Math.abs(value),
    );
  });
}

describe("loraUpdate", () => {
  it("adds what the worked example says", () => {
    tf.tidy(() => {
      const base = tf.add(
        tf.matMul(tf.tensor2d([1, 2], [1, 2]), tf.tensor2d(w, [3, 2]), false, true),
        tf.tensor1d([0.1, 0.2, 0.3]),
      );
      close(tf.add(base, loraUpdate(tf.tensor2d([1, 2], [1, 2]), tensors())).dataSync(), [4.5, 12.4, -4.7]);
    });
  });

  it("has the gradients of the worked example", () => {
    tf.tidy(() => {
      const x = tf.tensor2d([1, 2], [1, 2]);
      const base = tf.add(tf.matMul(x, tf.tensor2d(w, [3, 2]), false, true), tf.tensor1d([0.1, 0.2, 0.3]));
      const loss = (...[a, b]: tf.Tensor[]) =>
        tf.mul(
          0.5,
          tf.sum(tf.square(tf.add(base, loraUpdate(x, { a: a as tf.Tensor2D, b: b as tf.Tensor2D, scale: 2 })))),
        ) as tf.Scalar;
      const [da, db] = tf.grads(loss)([tensors().a, tensors().b]);
      close(da!.dataSync(), [-17.52, -35.04]);
      close(db!.dataSync(), [-13.5, -37.2, 14.1]);
    });
  });

  it("scales the bias as well", () => {
    tf.tidy(() => {
      const x = tf.tensor2d([1, 2], [1, 2]);
      const plain = loraUpdate(x, tensors()).dataSync();
      const biased = loraUpdate(x, { ...tensors(), bias: tf.tensor1d([1, 2, 3]) }).dataSync();
      close(biased, [plain[0]! + 2, plain[1]! + 4, plain[2]! + 6]);
    });
  });
});

describe("loraDelta", () => {
  it("merges to the worked weight, in either layout", () => {
    tf.tidy(() => {
      const merged = tf.add(tf.tensor2d(w, [3, 2]), loraDelta(tensors(), "out_in")).dataSync();
      close(merged, [1.2, 1.6, 2.6, 4.8, 1, -3]);
      const transposed = tf.add(tf.transpose(tf.tensor2d(w, [3, 2])), loraDelta(tensors(), "in_out")).dataSync();
      close(transposed, [1.2, 2.6, 1, 1.6, 4.8, -3]);
    });
  });

  it("equals the update for any input: x·ΔWᵀ = s·x·Aᵀ·Bᵀ", () => {
    const generator = createGenerator(3);
    for (const [n, input, output, rank] of [
      [3, 5, 4, 2],
      [1, 7, 2, 3],
      [6, 2, 9, 1],
    ] as const) {
      tf.tidy(() => {
        const x = tf.tensor2d(generator.normal(n * input), [n, input]);
        const parts = {
          a: tf.tensor2d(generator.normal(rank * input), [rank, input]),
          b: tf.tensor2d(generator.normal(output * rank), [output, rank]),
          scale: 0.7,
        };
        const expected = tf.matMul(x, loraDelta(parts, "out_in"), false, true).dataSync();
        close(loraUpdate(x, parts).dataSync(), [...expected], 1e-4);
      });
    }
  });
});

describe("loraEmbeddingUpdate", () => {
  it("equals the rows of the merged table", () => {
    const generator = createGenerator(4);
    tf.tidy(() => {
      const parts = {
        a: tf.tensor2d(generator.normal(2 * 6), [2, 6]),
        b: tf.tensor2d(generator.normal(3 * 2), [3, 2]),
        scale: 1.5,
      };
      const ids = tf.tensor1d([4, 0, 4, 5], "int32");
      const expected = tf.gather(loraDelta(parts, "in_out"), ids).dataSync();
      close(loraEmbeddingUpdate(ids, parts).dataSync(), [...expected]);
    });
  });
});
