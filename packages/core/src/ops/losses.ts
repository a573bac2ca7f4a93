import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";
import { keepInputs } from "./keepInputs.ts";

/**
 * Weighted mean cross-entropy: −Σᵢ wᵢ·log softmax(logitsᵢ)[labelᵢ] / Σᵢ wᵢ.
 * logits [n, classes], labels int32 [n], weights float32 [n] (default: ones). A label outside [0, classes) adds nothing to the sum.
 *
 * The backward pass keeps the logits alone: ∂logitsᵢ = (softmax(logitsᵢ) − onehot(labelᵢ))·∂yᵢ.
 */
export function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D, weights?: tf.Tensor1D): tf.Scalar {
  const [, classes] = logits.shape;
  const perRow = keepInputs<tf.Tensor1D, [tf.Tensor2D]>([logits], {
    value: (x) =>
      composite("PeftCrossEntropy", { logits: x, labels }, {}, () =>
        tf.neg(tf.sum(tf.mul(tf.logSoftmax(x), tf.oneHot(labels, classes)), -1)),
      ),
    gradients: (dy, kept) => [gradient(dy, kept)],
    constants: [labels],
  });
  return weightedMean(perRow, weights);
}

function gradient(dy: tf.Tensor, saved: readonly tf.Tensor[]): tf.Tensor {
  const [logits, labels] = saved as [tf.Tensor2D, tf.Tensor1D];
  const [rows, classes] = logits.shape;
  return composite("PeftCrossEntropyGrad", { dy, logits, labels }, {}, () => {
    const target = tf.cast(tf.oneHot(labels, classes), "float32");
    const inside = tf.sum(target, -1);
    return tf.mul(tf.sub(tf.softmax(logits), target), tf.reshape(tf.mul(dy, inside), [rows, 1]));
  });
}

/** Weighted mean squared error: Σᵢ wᵢ(pᵢ − tᵢ)² / Σᵢ wᵢ. predictions, targets and weights [n]. */
export function meanSquaredError(predictions: tf.Tensor1D, targets: tf.Tensor1D, weights?: tf.Tensor1D): tf.Scalar {
  return weightedMean(tf.square(tf.sub(predictions, targets)) as tf.Tensor1D, weights);
}

function weightedMean(values: tf.Tensor1D, weights?: tf.Tensor1D): tf.Scalar {
  if (weights === undefined) return tf.mean(values);
  return tf.div(tf.sum(tf.mul(values, weights)), tf.sum(weights)) as tf.Scalar;
}
