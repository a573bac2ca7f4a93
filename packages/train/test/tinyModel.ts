import { crossEntropy, dropout, float32, int32 } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { EvaluationPlan, TrainableModel, TrainingPlan } from "../src/index.ts";

/** Numbers in [−1, 1) from a fixed recurrence (Numerical Recipes' LCG): the same on every machine. */
export function sequence(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

const FEATURES = 6;
const HIDDEN = 5;
const CLASSES = 3;

/** Two layers with dropout between them; `unused` never reaches the loss. */
export function tinyModel(seed = 1): TrainableModel & { readonly steps: number[] } {
  const next = sequence(seed);
  const random = (...shape: number[]): HostTensor =>
    float32(
      Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() * 0.5),
      shape,
    );
  const frozen = { "in.weight": random(FEATURES, HIDDEN) };
  let trainable: Named<HostTensor> = {
    "in.bias": random(HIDDEN),
    "out.weight": random(HIDDEN, CLASSES),
    "out.bias": random(CLASSES),
    unused: random(2),
  };
  const steps: number[] = [];
  const forward: TrainableModel["forward"] = (parameters, batch, { training, key }) => {
    const weights = parameters.trainable as Record<string, tf.Tensor>;
    const x = batch["x"] as tf.Tensor2D;
    const hidden = tf.tanh(
      tf.add(tf.matMul(x, parameters.frozen["in.weight"] as tf.Tensor2D), weights["in.bias"] as tf.Tensor),
    );
    const dropped = training ? dropout(hidden, 0.2, key, 0) : hidden;
    return {
      logits: tf.add(
        tf.matMul(dropped as tf.Tensor2D, weights["out.weight"] as tf.Tensor2D),
        weights["out.bias"] as tf.Tensor,
      ),
    };
  };
  return {
    steps,
    frozen: () => frozen,
    trainable: () => trainable,
    setTrainable: (values) => void (trainable = values),
    forward,
    loss: (parameters, batch, mode) =>
      crossEntropy(
        forward(parameters, batch, mode)["logits"] as tf.Tensor2D,
        batch["labels"] as tf.Tensor1D,
        batch["row_weights"] as tf.Tensor1D | undefined,
      ),
    afterStep: (step) => void steps.push(step),
  };
}

/** A batch whose labels follow from the sign and size of two features. */
export function tinyBatch(index: number, rows = 8): Named<HostTensor> {
  const next = sequence(1000 + index);
  const x = Array.from({ length: rows * FEATURES }, next);
  const labels = Array.from({ length: rows }, (_, i) =>
    labelOf(x[i * FEATURES] as number, x[i * FEATURES + 1] as number),
  );
  return {
    x: float32(x, [rows, FEATURES]),
    labels: int32(labels, [rows]),
    row_weights: float32(Array<number>(rows).fill(1), [rows]),
  };
}

function labelOf(first: number, second: number): number {
  if (first > 0.2) return 0;
  return second > 0 ? 1 : 2;
}

export function tinyPlan(batchesPerEpoch = 6): TrainingPlan {
  return { batchesPerEpoch, batchAt: (index) => tinyBatch(index % batchesPerEpoch) };
}

/** Rows in reverse order, and the last batch filled up with two rows that count for nothing. */
export function tinyEvaluation(batches = 3, rows = 8): EvaluationPlan {
  const real = batches * rows - 2;
  return {
    batches,
    batchAt: (index) => {
      const batch = tinyBatch(500 + index, rows);
      const numbers = Array.from({ length: rows }, (_, i) => real - 1 - (index * rows + i)).map((row) =>
        Math.max(row, -1),
      );
      return {
        batch: {
          ...batch,
          row_weights: float32(
            numbers.map((row) => (row < 0 ? 0 : 1)),
            [rows],
          ),
        },
        rows: numbers,
      };
    },
  };
}
