import { float32, PeftError, zeros } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { Optimizer } from "./optimizer.ts";

/** State before the first step: zeros for every slot of every parameter, keyed `<slot>.<parameter>`. */
export function initialState(optimizer: Pick<Optimizer, "slots">, params: Named<HostTensor>): Named<HostTensor> {
  const state: Record<string, HostTensor> = {};
  for (const slot of optimizer.slots) {
    for (const [name, tensor] of Object.entries(params)) state[`${slot}.${name}`] = zeros(tensor.shape);
  }
  return state;
}

export function scalar(value: number): HostTensor {
  return float32([value], []);
}

/** A tensor that must be there. */
export function get<T = tf.Tensor>(tensors: Named<T>, name: string): T {
  const tensor = tensors[name];
  if (tensor === undefined) {
    throw new PeftError(
      "TENSOR_MISSING",
      `"${name}" is missing. There are: ${Object.keys(tensors).slice(0, 8).join(", ") || "none"}. Pass what the optimizer's slots, scalars and group return.`,
    );
  }
  return tensor;
}
