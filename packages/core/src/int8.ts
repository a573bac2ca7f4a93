import { PeftError } from "./errors.ts";
import type { HostTensor, Int8Tensor, StoredTensor } from "./tensors.ts";

/** Largest magnitude of a quantized value: symmetric, so that −W is quantized as W is. */
const LARGEST = 127;

/** 1.5 · 2⁵²: a float64 has no digits behind the point there, so adding it and taking it away rounds to nearest, ties to even. */
const ROUND = 6755399441055744;

export type QuantizeOptions = Pick<Int8Tensor, "axis" | "inputScales"> & Partial<Pick<Int8Tensor, "backward">>;

/**
 * A matrix in one byte a value: sᵢ = max|Wᵢ/t|/127 over output channel i, data = round(W/(s·t)), ties to even. The error of a value is at
 * most s·t/2. A channel of zeros has the factor 0.
 * @throws PeftError `SHAPE_MISMATCH` for what is no matrix, `NOT_FINITE` for NaN and infinite values.
 */
export function quantize(tensor: HostTensor, { axis, backward = "int8", inputScales: t }: QuantizeOptions): Int8Tensor {
  const { shape } = tensor;
  if (shape.length !== 2) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `Only matrices are held in eight bits, got a tensor of shape [${shape.join(", ")}]. Leave it in float32.`,
    );
  }
  const values = t === undefined ? tensor.data : divided(tensor.data, { shape, axis: flipped(axis), by: t });
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
  const scales = largest.map((size) => size / LARGEST);
  return { dtype: "int8", shape, data, scales, axis, backward, ...(t === undefined ? {} : { inputScales: t }) };
}

/** A normalisation's parameters: gain γ and shift β, [in]. */
export interface NormValues {
  readonly weight: HostTensor["data"];
  readonly bias: HostTensor["data"] | null;
}

/**
 * Factors t of the inputs of a layer that reads a normalisation's output x = γ·x̂ + β: tⱼ = (max|W.ⱼ| / √(γⱼ² + βⱼ²))^½. Large features, whose
 * weights are small, would leave few of 127 steps to the others, and their weights few of theirs. x ⊙ t and W/t have both about the
 * same size everywhere (SmoothQuant, Xiao et al. 2023, equation 4 with α = ½; the size of a feature follows from γ and β, without data).
 * 1 where either is 0.
 */
export function inputScales(
  { shape, data }: HostTensor,
  { axis, norm }: Pick<Int8Tensor, "axis"> & { readonly norm: NormValues },
): Float32Array {
  return largestOf(data, shape, flipped(axis)).map((size, j) => {
    const t = Math.sqrt(size / Math.hypot(norm.weight[j] as number, norm.bias?.[j] ?? 0));
    return t > 0 && Number.isFinite(t) ? t : 1;
  });
}

function flipped(axis: 0 | 1): 0 | 1 {
  return axis === 0 ? 1 : 0;
}

export function isInt8(tensor: StoredTensor): tensor is Int8Tensor {
  return tensor.dtype === "int8";
}

export function dequantizeInto(target: Float32Array, { shape, data, scales, axis, inputScales: t }: Int8Tensor): void {
  target.set(data);
  multiply(target, { shape, axis, by: scales });
  if (t !== undefined) multiply(target, { shape, axis: flipped(axis), by: t });
}

interface Factors {
  readonly shape: readonly number[];
  /** Where `by` has an entry for every index. */
  readonly axis: 0 | 1;
  readonly by: Float32Array;
}

function divided(values: HostTensor["data"], { by, ...along }: Factors): Float32Array {
  const result = Float32Array.from(values);
  multiply(result, { ...along, by: by.map((factor) => 1 / factor) });
  return result;
}

function multiply(values: Float32Array, { shape, axis, by }: Factors): void {
  const [rows, columns] = shape as [number, number];
  for (let row = 0, i = 0; row < rows; row++) {
    let index = axis === 0 ? row : 0;
    for (const end = i + columns; i < end; i++, index += axis)
      values[i] = (values[i] as number) * (by[index] as number);
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
