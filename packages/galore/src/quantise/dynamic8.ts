import { sizeOf } from "@peftjs/core";
import type { TensorSpec } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { packBytes, unpackDigits } from "./digits.ts";

/** Numbers that share a scale. */
const BLOCK = 256;
const DECADES = 7;
/** A block of zeros is divided by this. */
const SMALLEST = 1e-37;

/** Levels of one decade, (0.1, 1]·10^(i−6): the mid-points of `count` equal parts. */
interface Decade {
  readonly power: number;
  readonly count: number;
}

function decades(signed: boolean): readonly Decade[] {
  return Array.from({ length: DECADES }, (_, i) => ({
    power: 10 ** (i - DECADES + 1),
    count: 2 ** (signed ? i : i + 1),
  }));
}

function level({ power, count }: Decade, index: number): number {
  return power * (0.1 + (0.9 * (index + 0.5)) / count);
}

/**
 * The 256 levels of the dynamic 8-bit code (Dettmers 2016; Dettmers et al. 2022, section 2), ascending: in decade i = 0 … 6 the mid-points of
 * 2^i equal parts of [0.1, 1] times 10^(i−6), with both signs, or of 2^(i+1) parts without, and 0 and 1.
 */
export function dynamicLevels(signed: boolean): Float32Array {
  const positive = decades(signed).flatMap((decade) =>
    Array.from({ length: decade.count }, (_, j) => level(decade, j)),
  );
  const negative = signed ? positive.map((x) => -x).reverse() : [];
  return Float32Array.from([...negative, 0, ...positive, 1]);
}

/** Place of 0 among the levels. */
function zeroCode(signed: boolean): number {
  return signed ? 127 : 0;
}

export interface Quantized {
  /** Four codes in an integer, [blocks, 64]. */
  readonly codes: tf.Tensor2D;
  /** Largest magnitude of each block, [blocks]. */
  readonly scales: tf.Tensor1D;
}

/** The tensors of a quantised tensor of this shape. Zeros are a tensor of zeros. */
export function quantizedSlots(shape: readonly number[]): { readonly codes: TensorSpec; readonly scales: TensorSpec } {
  const blocks = Math.ceil(sizeOf(shape) / BLOCK);
  return { codes: { shape: [blocks, BLOCK / 4], dtype: "int32" }, scales: { shape: [blocks], dtype: "float32" } };
}

/** x = level[code]·scale, block by block. Traceable. */
export function dequantize8(
  { codes, scales }: Quantized,
  { shape, signed }: { readonly shape: readonly [number, number]; readonly signed: boolean },
): tf.Tensor2D {
  const table = tf.tensor1d(dynamicLevels(signed));
  const values = tf.gather(table, unpackDigits(codes, 8) as tf.Tensor2D);
  const flat = tf.reshape(tf.mul(values, tf.reshape(scales, [-1, 1])), [-1]);
  const size = sizeOf(shape);
  return tf.reshape(flat.size === size ? flat : tf.slice(flat, [0], [size]), [...shape]);
}

/** The nearest level to x/scale, scale the largest |x| of a block of 256 numbers in row-major order. Traceable. */
export function quantize8(x: tf.Tensor2D, { signed }: { readonly signed: boolean }): Quantized {
  const size = x.size;
  const padding = Math.ceil(size / BLOCK) * BLOCK - size;
  const flat = tf.reshape(x, [size]);
  const blocks: tf.Tensor2D = tf.reshape(padding === 0 ? flat : tf.pad(flat, [[0, padding]]), [-1, BLOCK]);
  const scales: tf.Tensor1D = tf.max(tf.abs(blocks), 1);
  const relative = tf.div(blocks, tf.reshape(tf.maximum(scales, SMALLEST), [-1, 1]));
  const codes = codesOf(relative, signed);
  return { codes: packBytes(codes) as tf.Tensor2D, scales };
}

/** Codes of numbers in [−1, 1]: how many borders between levels a magnitude has passed, to either side of zero. */
function codesOf(x: tf.Tensor, signed: boolean): tf.Tensor {
  const steps = passed(tf.abs(x), decades(signed));
  // 1 has no negative counterpart.
  const code = signed ? tf.maximum(tf.mul(tf.sign(x), steps), -zeroCode(signed)) : steps;
  return tf.cast(tf.add(code, zeroCode(signed)), "int32");
}

/** Inside a decade borders are equally spaced, so that counting them is one division. */
function passed(magnitude: tf.Tensor, all: readonly Decade[]): tf.Tensor {
  const lowest = (decade: Decade): number => level(decade, 0);
  const highest = (decade: Decade): number => level(decade, decade.count - 1);
  const starts = [...all.map(lowest), 1];
  const ends = [0, ...all.map(highest)];
  const between = starts.map((start, i) =>
    tf.cast(tf.greaterEqual(magnitude, (start + (ends[i] as number)) / 2), "float32"),
  );
  const within = all
    .filter(({ count }) => count > 1)
    .map(({ power, count }) => {
      const part = (0.9 * power) / count;
      return tf.clipByValue(tf.floor(tf.div(tf.sub(magnitude, 0.1 * power), part)), 0, count - 1);
    });
  return tf.addN([...between, ...within]);
}
