import { fromFloat16, toBfloat16, toFloat16 } from "./safetensors/dtypes.ts";
import type { HalfTensor, HalfType, HostTensor, StoredTensor } from "./tensors.ts";

export function isHalf(tensor: StoredTensor): tensor is HalfTensor {
  return tensor.dtype === "float16" || tensor.dtype === "bfloat16";
}

export function widenInto(target: Float32Array, halves: Uint16Array, dtype: HalfType): void {
  if (dtype === "float16") {
    for (let i = 0; i < halves.length; i++) target[i] = fromFloat16(halves[i] as number);
  } else {
    // The bits of a bfloat16 are the upper half of the float32's.
    const bits = new Uint32Array(target.buffer, target.byteOffset, halves.length);
    for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16;
  }
}

/** The values in two bytes each, rounded to nearest even. */
export function halvesOf({ shape, data: values }: HostTensor, dtype: HalfType): HalfTensor {
  const round = dtype === "float16" ? toFloat16 : toBfloat16;
  const data = new Uint16Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = round(values[i] as number);
  return { dtype, shape, data };
}
