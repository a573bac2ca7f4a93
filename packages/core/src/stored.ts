import { halvesOf, isHalf, widenInto } from "./halves.ts";
import { dequantizeInto, isInt8, quantize } from "./int8.ts";
import { sizeOf, type HalfTensor, type HalfType, type HostTensor, type StoredTensor } from "./tensors.ts";

/** The values as float32, exactly those that are stored; a tensor that is stored as it is computed with, as it is (not copied). */
export function widen(tensor: StoredTensor): HostTensor {
  if (!isHalf(tensor) && !isInt8(tensor)) return tensor;
  const data = new Float32Array(sizeOf(tensor.shape));
  if (isInt8(tensor)) dequantizeInto(data, tensor);
  else widenInto(data, tensor.data, tensor.dtype);
  return { dtype: "float32", shape: tensor.shape, data };
}

/** The values in two bytes each, rounded to nearest even; a tensor that has the type as it is (not copied). */
export function narrow(tensor: StoredTensor, dtype: HalfType): HalfTensor {
  return isHalf(tensor) && tensor.dtype === dtype ? tensor : halvesOf(widen(tensor), dtype);
}

/** The values as another tensor is stored, rounded where that holds fewer digits; one that is stored so as it is (not copied). */
export function storedLike(tensor: StoredTensor, like: StoredTensor): StoredTensor {
  if (isInt8(like)) return isInt8(tensor) && tensor.axis === like.axis ? tensor : quantize(widen(tensor), like);
  return isHalf(like) ? narrow(tensor, like.dtype) : widen(tensor);
}
