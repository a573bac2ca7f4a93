import * as tf from "@tensorflow/tfjs-core";

/**
 * Runs an operation as one kernel where the active backend has it (the tracing backend does, and lowers it to one or a few
 * fast nodes), and as ordinary tfjs operations elsewhere. Gradients are the caller's business (`tf.customGrad`).
 */
export function composite<T extends tf.Tensor>(
  name: string,
  inputs: Readonly<Record<string, tf.Tensor>>,
  attributes: Readonly<Record<string, number | string | boolean | readonly number[]>>,
  decomposed: () => T,
): T {
  if (tf.getKernel(name, tf.getBackend()) === undefined) return decomposed();
  // tfjs types kernel inputs and attributes as mutable maps; neither is written to.
  return tf.engine().runKernel(name, inputs as tf.NamedTensorMap, attributes as tf.NamedAttrMap) as T;
}
