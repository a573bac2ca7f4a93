import { PeftError } from "./errors.ts";
import type { HostTensor, Int8Tensor, StoredTensor } from "./tensors.ts";

/** Largest magnitude of a quantized value: symmetric, so that −W is quantized as W is. */
const LARGEST = 127;

/** 1.5 · 2⁵²: a float64 has no digits behind the point there, so adding it and taking it away rounds to nearest, ties to even. */
const ROUND = 6755399441055744;

export type QuantizeOptions = Pick<Int8Tensor, "axis"> & Partial<Pick<Int8Tensor, "backward">>;

/**
 * A matrix in one byte a value: sᵢ = max|Wᵢ|/127 over output channel i, data = round(W/s), ties to even. The error of a value is at most
 * s/2. A channel of zeros has the factor 0.
 * @throws PeftError `SHAPE_MISMATCH` for what is no matrix, `NOT_FINITE` for NaN and infinite values.
 */
export function quantize(tensor: HostTensor, { axis, backward = "int8" }: QuantizeOptions): Int8Tensor {
  const { shape, data: values } = tensor;
  if (shape.length !== 2) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `Only matrices are held in eight bits, got a tensor of shape [${shape.join(", ")}]. Leave it in float32.`,
    );
  }
  const largest = largestOf(values, shape, axis);
  if (!largest.every(Number.isFinite)) {
    throw new PeftError(
      "NOT_FINITE",
      "A matrix with NaN or infinite values cannot be held in eight bits. Correct the file it comes from, or exclude its layer.",
    );
  }
  const data = new Int8Array(values.length);
  const factors = Float64Array.from(largest, (size) => (size === 0 ? 0 : LARGEST / size));
  const [rows, columns] = shape as [number, number];
  for (let row = 0, i = 0; row < rows; row++) {
    let channel = axis === 0 ? row : 0;
    for (const end = i + columns; i < end; i++, channel += axis)
      data[i] = (values[i] as number) * (factors[channel] as number) + ROUND - ROUND;
  }
  return { dtype: "int8", shape, data, scales: largest.map((size) => size / LARGEST), axis, backward };
}

export function isInt8(tensor: StoredTensor): tensor is Int8Tensor {
  return tensor.dtype === "int8";
}

export function dequantizeInto(target: Float32Array, { shape, data, scales, axis }: Int8Tensor): void {
  const [rows, columns] = shape as [number, number];
  for (let row = 0, i = 0; row < rows; row++) {
    let channel = axis === 0 ? row : 0;
    for (const end = i + columns; i < end; i++, channel += axis)
      target[i] = (data[i] as number) * (scales[channel] as number);
  }
}

/** max|W| of every channel; NaN where it holds one. */
function largestOf(values: HostTensor["data"], shape: readonly number[], axis: 0 | 1): Float32Array {
  const [rows, columns] = shape as [number, number];
  const largest = new Float32Array(shape[axis] as number);
  for (let row = 0, i = 0; row < rows; row++) {
    let channel = axis === 0 ? row : 0;
    for (const end = i + columns; i < end; i++, channel += axis) {
      const size = Math.abs(values[i] as number);
      // NaN is greater than nothing and nothing is greater than it: it is taken, and stays.
      if (size > (largest[channel] as number) || Number.isNaN(size)) largest[channel] = size;
    }
  }
  return largest;
}
