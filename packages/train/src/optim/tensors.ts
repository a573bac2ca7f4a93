import { float32, PeftError, zeros } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";

/** Zeros for every slot of every parameter. */
export function slots(params: Named<HostTensor>, names: readonly string[]): Named<HostTensor> {
  const state: Record<string, HostTensor> = {};
  for (const slot of names) {
    for (const [name, tensor] of Object.entries(params)) state[`${slot}.${name}`] = zeros(tensor.shape);
  }
  return state;
}

export function scalar(value: number): HostTensor {
  return float32([value], []);
}

/** A tensor that must be there. */
export function get(tensors: Named<tf.Tensor>, name: string): tf.Tensor {
  const tensor = tensors[name];
  if (tensor === undefined) {
    throw new PeftError(
      "TENSOR_MISSING",
      `No tensor "${name}" was given. There are: ${Object.keys(tensors).slice(0, 8).join(", ") || "none"}. Pass what init and scalars return.`,
    );
  }
  return tensor;
}
