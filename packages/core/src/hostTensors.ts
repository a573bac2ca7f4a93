import * as tf from "@tensorflow/tfjs-core";
import { widen } from "./stored.ts";
import type { HostTensor, StoredTensor } from "./tensors.ts";

/** A tensor of the active backend with the values of host memory, widened to float32 where they are stored in fewer bytes. */
export function toTensor(stored: StoredTensor): tf.Tensor {
  const { data, shape, dtype } = widen(stored);
  return tf.tensor(data, [...shape], dtype);
}

/** The values of a tensor in host memory of their own. Waits for the backend. */
export function toHost(tensor: tf.Tensor): HostTensor {
  const { shape } = tensor;
  if (tensor.dtype === "int32") return { dtype: "int32", shape, data: tensor.dataSync<"int32">().slice() };
  return { dtype: "float32", shape, data: tensor.dataSync<"float32">().slice() };
}
