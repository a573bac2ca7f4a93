import { PeftError } from "./errors.ts";
import type { HostTensor, Int8Tensor, StoredTensor } from "./tensors.ts";

/** Largest magnitude of a quantized value: symmetric, so that −W is quantized as W is. */
const LARGEST = 127;

export type QuantizeOptions = Pick<Int8Tensor, "axis"> & Partial<Pick<Int8Tensor, "backward">>;

/**
 * A matrix in one byte a value: sᵢ = max|Wᵢ|/127 over output channel i, data = round(W/s). The error of a value is at most s/2. A channel
 * of zeros has the factor 0.
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
  const largest = new Float32Array(shape[axis] as number);
  forEachValue(shape, axis, (i, channel) => {
    const size = Math.abs(values[i] as number);
    // Not "greater": NaN is found, too.
    if (!(size <= (largest[channel] as number))) largest[channel] = size;
  });
  if (!largest.every(Number.isFinite)) {
    throw new PeftError(
      "NOT_FINITE",
      "A matrix with NaN or infinite values cannot be held in eight bits. Correct the file it comes from, or exclude its layer.",
    );
  }
  const data = new Int8Array(values.length);
  const factors = largest.map((size) => (size === 0 ? 0 : LARGEST / size));
  forEachValue(shape, axis, (i, channel) => {
    data[i] = Math.round((values[i] as number) * (factors[channel] as number));
  });
  return { dtype: "int8", shape, data, scales: largest.map((size) => size / LARGEST), axis, backward };
}

export function isInt8(tensor: StoredTensor): tensor is Int8Tensor {
  return tensor.dtype === "int8";
}

export function dequantizeInto(target: Float32Array, { shape, data, scales, axis }: Int8Tensor): void {
  forEachValue(shape, axis, (i, channel) => {
    target[i] = (data[i] as number) * (scales[channel] as number);
  });
}

function forEachValue(shape: readonly number[], axis: 0 | 1, visit: (index: number, channel: number) => void): void {
  const [rows, columns] = shape as [number, number];
  for (let row = 0, i = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, i++) visit(i, axis === 0 ? row : column);
}
