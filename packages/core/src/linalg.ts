import { SVD } from "ml-matrix";
import { PeftError } from "./errors.ts";

/** A row-major matrix in host memory. Results are float64. */
export interface HostMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array | Float32Array;
}

/** A matrix over `data` (not copied). */
export function matrix(data: Float64Array | Float32Array, shape: readonly [number, number]): HostMatrix {
  const [rows, columns] = shape;
  if (data.length !== rows * columns) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `A ${rows} × ${columns} matrix needs ${rows * columns} values, got ${data.length}.`,
    );
  }
  return { rows, columns, data };
}

export function transpose({ rows, columns, data }: HostMatrix): HostMatrix {
  const result = new Float64Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j] as number;
  return matrix(result, [columns, rows]);
}

/** A·B in float64. a [m, k], b [k, n] → [m, n]. */
export function matmul(a: HostMatrix, b: HostMatrix): HostMatrix {
  if (a.columns !== b.rows)
    throw new PeftError("SHAPE_MISMATCH", `Cannot multiply ${a.rows} × ${a.columns} by ${b.rows} × ${b.columns}.`);
  const result = new Float64Array(a.rows * b.columns);
  for (let i = 0; i < a.rows; i++) {
    const row = result.subarray(i * b.columns, (i + 1) * b.columns);
    for (let k = 0; k < a.columns; k++) {
      const factor = a.data[i * a.columns + k] as number;
      const offset = k * b.columns;
      for (let j = 0; j < b.columns; j++) row[j] = (row[j] as number) + factor * (b.data[offset + j] as number);
    }
  }
  return matrix(result, [a.rows, b.columns]);
}

/**
 * Thin QR by Householder reflections, with LAPACK's signs: A = Q·R, a [m, n], k = min(m, n), q [m, k] with orthonormal columns,
 * r [k, n] upper triangular. Zero columns and rank deficiency are fine: Q stays orthonormal.
 */
export function qr(a: HostMatrix): { readonly q: HostMatrix; readonly r: HostMatrix } {
  const { rows: m, columns: n } = a;
  const k = Math.min(m, n);
  const work = Float64Array.from(a.data);
  const reflections: { readonly vector: Float64Array; readonly tau: number }[] = [];
  for (let step = 0; step < k; step++) {
    const reflection = householder(
      Float64Array.from({ length: m - step }, (_, i) => work[(step + i) * n + step] as number),
    );
    reflect(work, { ...reflection, columns: n, from: step });
    reflections.push(reflection);
  }
  const r = Float64Array.from({ length: k * n }, (_, index) =>
    index % n < Math.floor(index / n) ? 0 : (work[index] as number),
  );
  const q = Float64Array.from({ length: m * k }, (_, index) => (index % k === Math.floor(index / k) ? 1 : 0));
  for (let step = k - 1; step >= 0; step--)
    reflect(q, { ...(reflections[step] as (typeof reflections)[number]), columns: k, from: step });
  return { q: matrix(q, [m, k]), r: matrix(r, [k, n]) };
}

/** v and τ with (I − τ·v·vᵀ)·x = (β, 0, …), v₀ = 1, β = −sign(x₀)·‖x‖; τ = 0 when x is zero below its first entry. */
function householder(x: Float64Array): { readonly vector: Float64Array; readonly tau: number } {
  const first = x[0] as number;
  const below = Math.hypot(...chunkNorms(x.subarray(1)));
  if (below === 0) return { vector: Float64Array.from(x, (_, i) => (i === 0 ? 1 : 0)), tau: 0 };
  const beta = -(first < 0 ? -1 : 1) * Math.hypot(first, below);
  const vector = Float64Array.from(x, (value, i) => (i === 0 ? 1 : value / (first - beta)));
  return { vector, tau: (beta - first) / beta };
}

/** Norms of pieces: `Math.hypot` neither overflows nor underflows, but takes its values as arguments. */
function chunkNorms(x: Float64Array): number[] {
  return Array.from({ length: Math.ceil(x.length / 1024) }, (_, i) =>
    Math.hypot(...x.subarray(i * 1024, (i + 1) * 1024)),
  );
}

interface ReflectOptions {
  readonly vector: Float64Array;
  readonly tau: number;
  readonly columns: number;
  /** First row that the reflection touches. */
  readonly from: number;
}

/** data ← (I − τ·v·vᵀ)·data, in place. */
function reflect(data: Float64Array, { vector, tau, columns, from }: ReflectOptions): void {
  if (tau === 0) return;
  const projected = new Float64Array(columns);
  vector.forEach((v, i) => {
    const offset = (from + i) * columns;
    for (let j = 0; j < columns; j++) projected[j] = (projected[j] as number) + v * (data[offset + j] as number);
  });
  vector.forEach((v, i) => {
    const offset = (from + i) * columns;
    for (let j = 0; j < columns; j++)
      data[offset + j] = (data[offset + j] as number) - tau * v * (projected[j] as number);
  });
}

/**
 * Thin singular value decomposition A = U·diag(s)·Vᵀ, a [m, n], k = min(m, n), u [m, k], s descending, v [n, k]. Meant for matrices
 * up to a few hundred rows and columns.
 */
export function svd(a: HostMatrix): { readonly u: HostMatrix; readonly s: Float64Array; readonly v: HostMatrix } {
  const k = Math.min(a.rows, a.columns);
  const rows = Array.from({ length: a.rows }, (_, i) =>
    Array.from(a.data.subarray(i * a.columns, (i + 1) * a.columns)),
  );
  const result = new SVD(rows, { autoTranspose: true });
  const thin = (source: { get(row: number, column: number): number }, size: number): HostMatrix =>
    matrix(
      Float64Array.from({ length: size * k }, (_, index) => source.get(Math.floor(index / k), index % k)),
      [size, k],
    );
  return {
    u: thin(result.leftSingularVectors, a.rows),
    s: Float64Array.from(result.diagonal.slice(0, k)),
    v: thin(result.rightSingularVectors, a.columns),
  };
}
