import { float32, int32, sizeOf } from "@peftjs/core";
import type { HostTensor, Named, TensorSpec } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { tensorOf } from "../rules/tensorOf.ts";
import { unpackDigits } from "./digits.ts";

/** Numbers that share a scale and a zero. */
const GROUP = 256;
const LEVELS = 15;
/** Codes in an integer. */
const PER_WORD = 8;

type Parts<T> = Readonly<Record<"codes" | "scales" | "zeros", T>>;
export type Basis4 = Parts<HostTensor>;

/** The tensors of a basis of this shape in four bits. */
export function basis4Slots(shape: readonly number[]): Parts<TensorSpec> {
  const groups = Math.ceil(sizeOf(shape) / GROUP);
  return {
    codes: { shape: [groups, GROUP / PER_WORD], dtype: "int32" },
    scales: { shape: [groups], dtype: "float32" },
    zeros: { shape: [groups], dtype: "float32" },
  };
}

/** Four-bit codes of one group: scale = max(max − min, 1e-5)/15, zero = clamp(round(−min/scale)), code = clamp(round(x/scale) + zero), in 0 … 15. */
export function codesOf(values: Float32Array): {
  readonly scale: number;
  readonly zero: number;
  readonly codes: Uint8Array;
} {
  const lowest = values.reduce((least, value) => Math.min(least, value), Infinity);
  const highest = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const scale = Math.max(highest - lowest, 1e-5) / LEVELS;
  const zero = clamp(roundToEven(-lowest / scale));
  const codes = Uint8Array.from(values, (value) => clamp(roundToEven(value / scale) + zero));
  return { scale, zero, codes };
}

function clamp(code: number): number {
  return Math.min(Math.max(code, 0), LEVELS);
}

/** As torch rounds. */
function roundToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** A basis in four bits (Q-GaLore, Zhang et al. 2024, section 3.3), groups of 256 numbers in row-major order; the last one may be shorter. */
export function quantizeBasis({ data, shape }: HostTensor): Basis4 {
  const { codes: packed, scales, zeros } = basis4Slots(shape);
  const words = new Int32Array(sizeOf(packed.shape));
  const [scaleOf, zeroOf] = [new Float32Array(sizeOf(scales.shape)), new Float32Array(sizeOf(zeros.shape))];
  for (let group = 0; group < scaleOf.length; group++) {
    const { scale, zero, codes } = codesOf((data as Float32Array).subarray(group * GROUP, (group + 1) * GROUP));
    scaleOf[group] = scale;
    zeroOf[group] = zero;
    codes.forEach((code, i) => {
      const word = (group * GROUP + i) >> 3;
      words[word] = (words[word] as number) | (code << (4 * (i % PER_WORD)));
    });
  }
  return {
    codes: int32(words, packed.shape),
    scales: float32(scaleOf, scales.shape),
    zeros: float32(zeroOf, zeros.shape),
  };
}

/** x = (code − zero)·scale. Traceable. */
export function dequantizeBasis(parts: Named<tf.Tensor>, shape: readonly [number, number]): tf.Tensor2D {
  const [codes, scales, zeros] = ["codes", "scales", "zeros"].map((name) => tensorOf(parts, name)) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const column = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [-1, 1]);
  const values = tf.mul(tf.sub(tf.cast(unpackDigits(codes, 4), "float32"), column(zeros)), column(scales));
  return tf.reshape(tf.slice(tf.reshape(values, [-1]), [0], [sizeOf(shape)]), [...shape]);
}

/** The same numbers on the host. */
export function readBasis4({ codes, scales, zeros }: Basis4, shape: readonly number[]): HostTensor {
  const values = new Float32Array(sizeOf(shape));
  values.forEach((_, i) => {
    const group = Math.floor(i / GROUP);
    const code = ((codes.data[i >> 3] as number) >>> (4 * (i % PER_WORD))) & LEVELS;
    values[i] = (code - (zeros.data[group] as number)) * (scales.data[group] as number);
  });
  return float32(values, shape);
}
