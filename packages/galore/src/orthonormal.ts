import { float32, matrix, whitening } from "@peftjs/core";
import type { Generator, HostMatrix, HostTensor, TensorRunner } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { asMatrix, asTensor } from "./host.ts";
import { programOf } from "./programs.ts";

/** What is new in a row shows in float32 products when its square is at least this part of the row's. */
export const RESOLVED = 1e-5;
/** Rows count as orthonormal when their products differ by no more than this from 0 and 1. Products of 3,072 numbers err by 1e-6. */
const ORTHONORMAL = 4e-6;
/** Two are enough but for rows that those above span, which take two more. */
const PASSES = 8;
const SMALLEST = 1e-30;

/** Rows and their products with each other. */
export interface Rows {
  readonly rows: HostTensor;
  readonly gram: HostMatrix;
}

/**
 * Runs F·Y or F·Y·G (·Gᵀ when `transposed`) on the engine, which is `scaled`.
 */
export async function multiplied(
  runner: TensorRunner,
  { factor, rows, gradient, transposed = false }: Factors,
): Promise<Rows> {
  const name = gradient === undefined ? "F·Y" : `F·Y·G ${transposed}`;
  const program = programOf(runner, name, ({ x: { f, y, g } = {} }) => {
    const left: tf.Tensor2D = tf.matMul(f as tf.Tensor2D, y as tf.Tensor2D);
    return withProducts(
      g === undefined ? left : scaled(tf.matMul<tf.Tensor2D>(left, g as tf.Tensor2D, false, transposed)),
    );
  });
  const x = { f: asTensor(factor), y: rows, ...(gradient !== undefined && { g: gradient }) };
  return readRows((await program.run({ x }))["out"] ?? {});
}

interface Factors {
  /** F [k, w]. */
  readonly factor: HostMatrix;
  /** Y [w, m]. */
  readonly rows: HostTensor;
  readonly gradient?: HostTensor;
  readonly transposed?: boolean;
}

/** Traced: what `readRows` reads. */
export function withProducts(rows: tf.Tensor2D): Record<string, Record<string, tf.Tensor>> {
  return { out: { rows, gram: tf.matMul(rows, rows, false, true) } };
}

export function readRows({ rows, gram }: Readonly<Record<string, HostTensor>>): Rows {
  return { rows: rows as HostTensor, gram: asMatrix(gram as HostTensor) };
}

/** Traced: the largest entry becomes 1 or −1, so that squares neither overflow nor vanish. */
export function scaled(rows: tf.Tensor2D): tf.Tensor2D {
  return tf.div(rows, tf.maximum(tf.max(tf.abs(rows)), SMALLEST));
}

/**
 * Orthonormal rows, the first k of which span what the first k of `rows` do (Cholesky QR, Fukaya et al. 2014, repeated until the products
 * are those of orthonormal rows). Random ones take the place of rows that those above span, so that zeros have a basis, too.
 */
export async function orthonormal(runner: TensorRunner, rows: Rows, generator: Generator): Promise<HostTensor> {
  let found = rows;
  for (let pass = 0; pass < PASSES && !isOrthonormal(found.gram); pass++) {
    const { factor, dependent } = whitening(found.gram, RESOLVED);
    found = await multiplied(runner, { factor, rows: found.rows });
    // What the first pass does not show may show in the second.
    if (pass === 0 || dependent.length === 0) continue;
    const filled = replaced(found.rows, dependent, generator);
    found = await multiplied(runner, { factor: identity(found.gram.rows), rows: filled });
  }
  return found.rows;
}

function isOrthonormal({ rows, data }: HostMatrix): boolean {
  return data.every((value, at) => Math.abs(value - (at % (rows + 1) === 0 ? 1 : 0)) <= ORTHONORMAL);
}

export function identity(n: number): HostMatrix {
  return matrix(
    Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0)),
    [n, n],
  );
}

/** Random rows of about length one in the places that are named. */
function replaced({ data, shape }: HostTensor, places: readonly number[], generator: Generator): HostTensor {
  const [rows = 0, length = 0] = shape;
  const result = data.slice() as Float32Array;
  for (const row of places) result.set(generator.normal(length, 0, 1 / Math.sqrt(length)), row * length);
  return float32(result, [rows, length]);
}
