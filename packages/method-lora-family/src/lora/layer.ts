import * as tf from "@tensorflow/tfjs-core";

/** Shapes: A [r, in], B [out, r], bias [out]; `scale` is s of {@link loraScale}. */
export interface LoraTensors {
  readonly a: tf.Tensor2D;
  readonly b: tf.Tensor2D;
  readonly bias?: tf.Tensor1D | undefined;
  readonly scale: number;
}

/**
 * The update of a linear layer: s·((x·Aᵀ)·Bᵀ + β) (Hu et al. 2021, eq. 3). x [n, in] → [n, out].
 * Two skinny products: B·A is never formed. s multiplies the narrow product x·Aᵀ [n, r], not the wide result.
 */
export function loraUpdate(x: tf.Tensor2D, { a, b, bias, scale }: LoraTensors): tf.Tensor2D {
  const narrow: tf.Tensor2D = scaled(tf.matMul(x, a, false, true), scale);
  const update: tf.Tensor2D = tf.matMul(narrow, b, false, true);
  return bias === undefined ? update : tf.add<tf.Tensor2D>(update, scaled(bias, scale));
}

/** The update of an embedding: s·Aᵀ[ids]·Bᵀ. ids int32 [n], A [r, vocabulary], B [dim, r] → [n, dim]. */
export function loraEmbeddingUpdate(ids: tf.Tensor1D, { a, b, scale }: LoraTensors): tf.Tensor2D {
  const rows = tf.gather(tf.transpose(a), ids) as tf.Tensor2D;
  return tf.matMul(scaled(rows, scale), b, false, true);
}

/** What merging adds to a weight [out, in]: s·B·A. Its transpose, Aᵀ·Bᵀ·s [in, out], for weights stored that way. */
export function loraDelta({ a, b, scale }: LoraTensors, layout: "out_in" | "in_out"): tf.Tensor2D {
  const product: tf.Tensor2D = layout === "out_in" ? tf.matMul(b, a) : tf.matMul(a, b, true, true);
  return scaled(product, scale);
}

function scaled<T extends tf.Tensor>(x: T, scale: number): T {
  return scale === 1 ? x : tf.mul(x, scale);
}
