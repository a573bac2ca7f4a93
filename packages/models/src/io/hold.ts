import { isInt8, narrow, PeftError, quantize, widen, type StoredTensor } from "@peftjs/core";
import type { Held } from "./frozen.ts";

/** The values of the parameter `name` as they are to be held. Throws `NOT_FINITE` for those that eight bits cannot hold. */
export function hold(tensor: StoredTensor, name: string, held: Held): StoredTensor {
  switch (held.type) {
    case "auto":
      return tensor;
    case "float32":
      return widen(tensor);
    case "int8":
      return quantized(tensor, name, held);
    default:
      return narrow(tensor, held.type);
  }
}

function quantized(tensor: StoredTensor, name: string, held: Extract<Held, { type: "int8" }>): StoredTensor {
  try {
    return quantize(widen(tensor), held);
  } catch (error) {
    if (!(error instanceof PeftError)) throw error;
    throw new PeftError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}

/** Bytes that a model's parameters take in memory, by their type; what is tied counts once. */
export function bytesByType({
  parameters,
}: {
  readonly parameters: ReadonlyMap<string, StoredTensor>;
}): Partial<Record<StoredTensor["dtype"], number>> {
  const bytes: Partial<Record<StoredTensor["dtype"], number>> = {};
  for (const tensor of new Set(parameters.values())) {
    const factors = isInt8(tensor) ? tensor.scales.byteLength : 0;
    bytes[tensor.dtype] = (bytes[tensor.dtype] ?? 0) + tensor.data.byteLength + factors;
  }
  return bytes;
}
