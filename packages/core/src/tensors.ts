import { PeftError } from "./errors.ts";

export type DType = "float32" | "int32" | "bool";

/** A tensor in host memory: row-major values. Several tensors may be views of one buffer (a mapped file). */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** Sixteen bits a value: a storage type, which nothing is computed in. */
export type HalfType = "float16" | "bfloat16";

/** Frozen weights that stay as narrow as their file; `data` holds the bits. `widen` gives the values. */
export interface HalfTensor {
  readonly dtype: HalfType;
  readonly shape: readonly number[];
  readonly data: Uint16Array;
}

/** Arithmetic of a program's products with a weight of eight bits. */
export type ProductType = "float32" | "int8";

/**
 * A frozen matrix in one byte a value, symmetric per output channel: W ≈ s ⊙ data ⊙ t, with one factor s for every index of the output
 * axis and one factor t for every index of the other. `widen` gives the values, `quantize` makes it.
 */
export interface Int8Tensor {
  readonly dtype: "int8";
  readonly shape: readonly number[];
  /** −127 … 127. */
  readonly data: Int8Array;
  /** s, [shape[axis]]. */
  readonly scales: Float32Array;
  /** t, [shape[1 − axis]]: see `inputScales`. None: 1. */
  readonly inputScales?: Float32Array;
  /** The axis of the output channels: 0 for [out, in], 1 for [in, out]. */
  readonly axis: 0 | 1;
  /** How a compiled program multiplies gradients with it. Products of the forward pass are always of integers. */
  readonly backward: ProductType;
}

/** What a frozen weight may be; engines compute with it as it is, or widen it where it is used. */
export type StoredTensor = HostTensor | HalfTensor | Int8Tensor;

/** Tensors by name. `T` is `HostTensor` outside and `tf.Tensor` inside a traced function. */
export type Named<T> = Readonly<Record<string, T>>;

/** Number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/** A float32 tensor over `data` (not copied). */
export function float32(data: Float32Array | readonly number[], shape: readonly number[]): HostTensor {
  return hostTensor("float32", data instanceof Float32Array ? data : Float32Array.from(data), shape);
}

/** An int32 tensor over `data` (not copied). */
export function int32(data: Int32Array | readonly number[], shape: readonly number[]): HostTensor {
  return hostTensor("int32", data instanceof Int32Array ? data : Int32Array.from(data), shape);
}

export function zeros(shape: readonly number[], dtype: DType = "float32"): HostTensor {
  const size = sizeOf(shape);
  const data =
    dtype === "float32" ? new Float32Array(size) : dtype === "int32" ? new Int32Array(size) : new Uint8Array(size);
  return { dtype, shape, data };
}

/** A copy with memory of its own. */
export function cloneTensor(tensor: HostTensor): HostTensor {
  return { ...tensor, data: tensor.data.slice() };
}

function hostTensor(dtype: DType, data: HostTensor["data"], shape: readonly number[]): HostTensor {
  if (data.length !== sizeOf(shape)) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `A tensor of shape [${shape.join(", ")}] needs ${sizeOf(shape)} values, got ${data.length}.`,
    );
  }
  return { dtype, shape, data };
}
