import type { DType, HalfType } from "@peftjs/core";

/** The type in which ONNX Runtime takes an argument. It takes none of bfloat16; the program knows what the bits mean. */
export function carrierOf<T extends DType | HalfType>(dtype: T): Exclude<T, "bfloat16"> | "uint16" {
  return dtype === "bfloat16" ? "uint16" : (dtype as Exclude<T, "bfloat16">);
}
