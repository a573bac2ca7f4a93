import * as tf from "@tensorflow/tfjs-core";

/**
 * Weighted mean cross-entropy: −Σᵢ wᵢ·log softmax(logitsᵢ)[labelᵢ] / Σᵢ wᵢ.
 * logits [n, classes], labels int32 [n], weights float32 [n] (default: ones).
 */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D, weights?: tf.Tensor1D): tf.Scalar {
  const [, classes] = logits.shape;
  const target = tf.oneHot(labels, classes);
  const perRow = tf.neg(tf.sum(tf.mul(tf.logSoftmax(logits), target), -1)) as tf.Tensor1D;
  return weightedMean(perRow, weights);
}

/** Weighted mean squared error: Σᵢ wᵢ(pᵢ − tᵢ)² / Σᵢ wᵢ. predictions, targets and weights [n]. */
export function meanSquaredError(predictions: tf.Tensor1D, targets: tf.Tensor1D, weights?: tf.Tensor1D): tf.Scalar {
  return weightedMean(tf.square(tf.sub(predictions, targets)) as tf.Tensor1D, weights);
}

function weightedMean(values: tf.Tensor1D, weights?: tf.Tensor1D): tf.Scalar {
  if (weights === undefined) return tf.mean(values);
  return tf.div(tf.sum(tf.mul(values, weights)), tf.sum(weights)) as tf.Scalar;
}
