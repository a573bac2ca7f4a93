import * as tf from "@tensorflow/tfjs-core";

/**
 * Shapes: A [R, in], E [R, 1], B [out, R], ranknum [1]. The paper's P, Λ, Q are B, diag(E), A. `alpha` is α', `ranknum` the
 * rank at the start: it stays when triplets are pruned, so that pruning changes nothing else.
 */
export interface AdaloraTensors {
  readonly a: tf.Tensor2D;
  readonly e: tf.Tensor2D;
  readonly b: tf.Tensor2D;
  readonly ranknum: tf.Tensor1D;
  readonly alpha: number;
}

/** x·(A ⊙ E)ᵀ·Bᵀ·α'/(ranknum + 1e-5), i.e. x·Δᵀ with Δ = P·Λ·Q (Zhang et al. 2023, eq. 3). x [n, in] → [n, out]. */
export function adaloraUpdate(x: tf.Tensor2D, tensors: AdaloraTensors): tf.Tensor2D {
  const narrow: tf.Tensor2D = tf.matMul(x, tf.mul(tensors.a, tensors.e), false, true);
  return tf.matMul(tf.mul(narrow, scaleOf(tensors)), tensors.b, false, true);
}

/** What merging adds to a weight [out, in]: B·(A ⊙ E)·α'/(ranknum + 1e-5). Its transpose for weights stored [in, out]. */
export function adaloraDelta(tensors: AdaloraTensors, layout: "out_in" | "in_out"): tf.Tensor2D {
  const right = tf.mul(tensors.a, tensors.e);
  const product = layout === "out_in" ? tf.matMul(tensors.b, right) : tf.matMul(right, tensors.b, true, true);
  return tf.mul(product, scaleOf(tensors));
}

function scaleOf({ ranknum, alpha }: AdaloraTensors): tf.Tensor1D {
  return tf.div(alpha, tf.add(ranknum, 1e-5));
}

export interface PenaltyOptions {
  readonly weight: number;
  /** Sum of squared norms instead of the mean of norms. */
  readonly squared: boolean;
}

/** Far below any norm that matters, and its root is far from the smallest float32. */
const SMALLEST_SQUARE = 1e-30;

/**
 * weight · mean ‖G − I‖_F over the Gram matrices G [R, R] of all factors: A·Aᵀ and Bᵀ·B. `squared`: weight · Σ ‖G − I‖²_F, which
 * is γ·Σ R(P, Q) (Zhang et al. 2023, eq. 4); their code and the Python library take the first form. The gradient of the
 * norm, 2(G − I)P/‖G − I‖_F, is zero where the norm is.
 */
export function orthogonalityPenalty(
  factors: readonly Pick<AdaloraTensors, "a" | "b">[],
  { weight, squared }: PenaltyOptions,
): tf.Scalar {
  const squares = factors.flatMap(({ a, b }) => [
    gramError(tf.matMul(a, a, false, true)),
    gramError(tf.matMul(b, b, true)),
  ]);
  const stacked = tf.stack(squares);
  const total = squared ? tf.sum(stacked) : tf.mean(tf.sqrt(tf.maximum(stacked, SMALLEST_SQUARE)));
  return tf.mul(total, weight);
}

/** ‖G − I‖²_F. */
function gramError(gram: tf.Tensor): tf.Scalar {
  return tf.sum(tf.square(tf.sub(gram, tf.eye(gram.shape[0] as number))));
}

/** Averages of every scalar of a parameter, all of its shape. */
export interface Importance<T> {
  /** Ī */
  readonly sensitivity: T;
  /** Ū */
  readonly uncertainty: T;
}

export interface ImportanceStep extends Importance<tf.Tensor> {
  /** p, already updated. */
  readonly parameter: tf.Tensor;
  /** g, which the update used. */
  readonly gradient: tf.Tensor;
  readonly beta1: number;
  readonly beta2: number;
}

/**
 * Ī' = β₁·Ī + (1 − β₁)·I and Ū' = β₂·Ū + (1 − β₂)·|I − Ī'| with I = |p·g| (Zhang et al. 2023, eqs. 8 to 10). The paper's
 * algorithm takes p before the update; its code and the Python library, which this follows, take it after.
 */
export function averageImportance(step: ImportanceStep): Importance<tf.Tensor> {
  const { beta1, beta2 } = step;
  const now = tf.abs(tf.mul(step.parameter, step.gradient));
  const sensitivity = tf.add(tf.mul(step.sensitivity, beta1), tf.mul(now, 1 - beta1));
  const deviation = tf.abs(tf.sub(now, sensitivity));
  return { sensitivity, uncertainty: tf.add(tf.mul(step.uncertainty, beta2), tf.mul(deviation, 1 - beta2)) };
}
