import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from "./safetensors/dtypes.ts";
import type { HalfTensor, HalfType, HostTensor, StoredTensor } from "./tensors.ts";

export function isHalf(tensor: StoredTensor): tensor is HalfTensor {
  return tensor.dtype === "float16" || tensor.dtype === "bfloat16";
}

export function widenInto(target: Float32Array, halves: Uint16Array, dtype: HalfType): void {
  const value = dtype === "float16" ? fromFloat16 : fromBfloat16;
  for (let i = 0; i < halves.length; i++) target[i] = value(halves[i] as number);
}

/** The values in two bytes each, rounded to nearest even. */
export function halvesOf({ shape, data: values }: HostTensor, dtype: HalfType): HalfTensor {
  const round = dtype === "float16" ? toFloat16 : toBfloat16;
  const data = new Uint16Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = round(values[i] as number);
  return { dtype, shape, data };
}
