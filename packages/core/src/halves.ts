import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from "./safetensors/dtypes.ts";
import { sizeOf, type HalfTensor, type HalfType, type HostTensor, type StoredTensor } from "./tensors.ts";

/** The values as float32, exactly; a tensor of another type than float16 and bfloat16 as it is (not copied). */
export function widen(tensor: StoredTensor): HostTensor {
  if (!isHalf(tensor)) return tensor;
  const data = new Float32Array(sizeOf(tensor.shape));
  widenInto(data, tensor.data, tensor.dtype);
  return { dtype: "float32", shape: tensor.shape, data };
}

/** The values in two bytes each, rounded to nearest even; a tensor that has the type as it is (not copied). */
export function narrow(tensor: StoredTensor, dtype: HalfType): HalfTensor {
  if (isHalf(tensor) && tensor.dtype === dtype) return tensor;
  const { shape, data: values } = widen(tensor);
  const round = dtype === "float16" ? toFloat16 : toBfloat16;
  const data = new Uint16Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = round(values[i] as number);
  return { dtype, shape, data };
}

export function isHalf(tensor: StoredTensor): tensor is HalfTensor {
  return tensor.dtype === "float16" || tensor.dtype === "bfloat16";
}

export function widenInto(target: Float32Array, halves: Uint16Array, dtype: HalfType): void {
  const value = dtype === "float16" ? fromFloat16 : fromBfloat16;
  for (let i = 0; i < halves.length; i++) target[i] = value(halves[i] as number);
}
