import { PeftError } from "@peftjs/core";
import type { Named } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";

/** A tensor that must be there. */
export function tensorOf<T extends tf.Tensor>(tensors: Named<tf.Tensor>, name: string): T {
  const tensor = tensors[name];
  if (tensor === undefined) {
    throw new PeftError(
      "TENSOR_MISSING",
      `"${name}" is missing. There are: ${Object.keys(tensors).join(", ") || "none"}. Pass what the rule's slots and scalars name.`,
    );
  }
  return tensor as T;
}
