import type { Int8Tensor, StoredTensor } from "@peftjs/core";
import { Tensor } from "onnxruntime-node";
import type { GraphInput } from "./graph.ts";

/** By the tensor, or by its factors. */
const known = new WeakMap<StoredTensor | Float32Array, Tensor>();

/** ONNX Runtime's view of the same memory: of a tensor's values, or of its factors. */
export function argumentOf(tensor: StoredTensor, part?: GraphInput["part"]): Tensor {
  const owner = part === undefined ? tensor : ((tensor as Int8Tensor)[part] as Float32Array);
  let view = known.get(owner);
  if (view === undefined) {
    view =
      owner instanceof Float32Array
        ? new Tensor("float32", owner, [owner.length])
        : new Tensor(carrierOf(owner.dtype), owner.data as Float32Array, [...owner.shape]);
    known.set(owner, view);
  }
  return view;
}

/** The type in which ONNX Runtime takes an argument. It takes none of bfloat16; the program knows what the bits mean. */
export function carrierOf<T extends StoredTensor["dtype"]>(dtype: T): Exclude<T, "bfloat16"> | "uint16" {
  return dtype === "bfloat16" ? "uint16" : (dtype as Exclude<T, "bfloat16">);
}
