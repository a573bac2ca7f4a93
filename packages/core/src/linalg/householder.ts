import { addRows } from "./matrix.ts";

/** The reflection I − τ·v·vᵀ of the coordinates from `from` on; v₀ = 1. */
export interface Reflection {
  readonly vector: Float64Array;
  readonly tau: number;
  readonly from: number;
}

/** The reflection with (I − τ·v·vᵀ)·x = (β, 0, …), β = −sign(x₀)·‖x‖ as LAPACK; τ = 0 when x is zero below its first entry. */
export function householder(x: Float64Array, from: number): Reflection & { readonly beta: number } {
  const first = x[0] as number;
  const below = Math.hypot(...chunkNorms(x.subarray(1)));
  if (below === 0) return { vector: Float64Array.from(x, (_, i) => (i === 0 ? 1 : 0)), tau: 0, from, beta: first };
  const beta = -(first < 0 ? -1 : 1) * Math.hypot(first, below);
  const vector = Float64Array.from(x, (value, i) => (i === 0 ? 1 : value / (first - beta)));
  return { vector, tau: (beta - first) / beta, from, beta };
}

/** Norms of pieces: `Math.hypot` neither overflows nor underflows, but takes its values as arguments. */
function chunkNorms(x: Float64Array): number[] {
  return Array.from({ length: Math.ceil(x.length / 1024) }, (_, i) =>
    Math.hypot(...x.subarray(i * 1024, (i + 1) * 1024)),
  );
}

/**
 * data ← H·data in place, data [rows, columns]. Only columns from `first` on are touched: the others are known to be zero in the
 * reflected rows, or not to be needed.
 */
export function reflectColumns(
  data: Float64Array,
  { vector, tau, from }: Reflection,
  { columns, first }: { readonly columns: number; readonly first: number },
): void {
  if (tau === 0) return;
  const width = columns - first;
  const projected = new Float64Array(width);
  addRows(projected, vector, data.subarray(from * columns + first), columns);
  for (let i = 0; i < vector.length; i++) {
    const v = tau * (vector[i] as number);
    const at = (from + i) * columns + first;
    for (let j = 0; j < width; j++) data[at + j] = (data[at + j] as number) - v * (projected[j] as number);
  }
}

/** data ← data·H in place for the rows from `first` on, data [rows, columns]. */
export function reflectRows(
  data: Float64Array,
  { vector, tau, from }: Reflection,
  { columns, first }: { readonly columns: number; readonly first: number },
): void {
  if (tau === 0) return;
  const n = vector.length;
  for (let at = first * columns + from; at < data.length; at += columns) {
    let dot = 0;
    for (let j = 0; j < n; j++) dot += (data[at + j] as number) * (vector[j] as number);
    dot *= tau;
    for (let j = 0; j < n; j++) data[at + j] = (data[at + j] as number) - dot * (vector[j] as number);
  }
}

/** The first `columns` columns of H₀·H₁·…, [rows, columns]. Each reflection leaves the coordinates before its `from` alone. */
export function productOf(
  reflections: readonly Reflection[],
  { rows, columns }: { readonly rows: number; readonly columns: number },
): Float64Array {
  const product = new Float64Array(rows * columns);
  for (let i = 0; i < Math.min(rows, columns); i++) product[i * columns + i] = 1;
  for (const reflection of reflections.toReversed())
    reflectColumns(product, reflection, { columns, first: reflection.from });
  return product;
}
