import { PeftError } from "../errors.ts";
import { matrix, type HostMatrix } from "./matrix.ts";

export interface Whitening {
  /** T [n, n], lower triangular. */
  readonly factor: HostMatrix;
  /** Rows of A that those above them span, as far as the products show. */
  readonly dependent: readonly number[];
}

/**
 * T = L⁻¹ with A·Aᵀ = L·Lᵀ (Cholesky), from the products A·Aᵀ [n, n] alone: the rows of T·A are orthonormal, the first k of them span what
 * the first k of A do, and the lengths of rows do not matter. `tolerance` is the square of what is new in a row beside that of the whole row,
 * from which on the products show it. A row with less is named as dependent; T·A has there what is left of it, a row shorter than one,
 * from which those below are not freed: whitening T·A once more brings out what was hidden. Rows of zeros stay.
 * Of the products the lower half is read.
 * @throws PeftError `NOT_FINITE` for NaN or infinite products.
 */
export function whitening({ rows: n, data }: HostMatrix, tolerance: number): Whitening {
  const lower = new Float64Array(n * n);
  const inverse = new Float64Array(n * n);
  const dependent: number[] = [];
  for (let i = 0; i < n; i++) {
    const row = lower.subarray(i * n, i * n + i);
    const square = data[i * n + i]!;
    const rest = square - substitute(lower, row, data.subarray(i * n, i * n + i));
    if (!Number.isFinite(rest))
      throw new PeftError(
        "NOT_FINITE",
        `Row ${i} has the product ${square} with itself. Rows of numbers that are finite, and whose squares are, can be whitened.`,
      );
    const least = tolerance * square;
    // The pivot of a dependent row stays zero: it is rounding, and to divide by it would let that grow from row to row.
    if (rest <= least) dependent.push(i);
    else lower[i * n + i] = Math.sqrt(rest);
    if (square > 0) invertRow(inverse, row, Math.sqrt(Math.max(rest, least)));
  }
  return { factor: matrix(inverse, [n, n]), dependent };
}

/** Row i of L⁻¹: (eᵢ − Σ L[i, k]·row k) / pivot. */
function invertRow(inverse: Float64Array, row: Float64Array, pivot: number): void {
  const i = row.length;
  const n = Math.sqrt(inverse.length);
  const own = inverse.subarray(i * n, i * n + i + 1);
  own[i] = 1;
  for (let k = 0; k < i; k++) {
    const factor = row[k]!;
    for (let m = 0, at = k * n; m <= k; m++, at++) own[m]! -= factor * inverse[at]!;
  }
  for (let m = 0; m <= i; m++) own[m]! /= pivot;
}

/** Solves L·x = products for the rows above, into `row`, and returns |x|². */
function substitute(lower: Float64Array, row: Float64Array, products: HostMatrix["data"]): number {
  const i = row.length;
  const n = Math.sqrt(lower.length);
  let squares = 0;
  for (let k = 0; k < i; k++) {
    const pivot = lower[k * n + k]!;
    if (pivot === 0) continue;
    let sum = products[k]!;
    for (let m = 0, at = k * n; m < k; m++, at++) sum -= row[m]! * lower[at]!;
    const x = sum / pivot;
    row[k] = x;
    squares += x * x;
  }
  return squares;
}
