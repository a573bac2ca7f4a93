import { PeftError } from "../errors.ts";
import { householder, productOf, reflectColumns, reflectRows, type Reflection } from "./householder.ts";
import { matmul, matrix, transpose, type HostMatrix } from "./matrix.ts";
import { qr } from "./qr.ts";
import { emptySweep, keep, rotated, rotateColumns, rotation, type Sweep } from "./rotations.ts";

/** A = U·diag(s)·Vᵀ: u [m, k], s [k] descending, v [n, k]; u and v have orthonormal columns. */
export interface Svd {
  readonly u: HostMatrix;
  readonly s: Float64Array;
  readonly v: HostMatrix;
}

/**
 * Thin singular value decomposition, a [m, n], k = min(m, n), in float64: QR to a square matrix, Householder reflections to a
 * bidiagonal one, implicit QR sweeps on that (Golub & Van Loan, 8.6). Backward stable: errors are a few units of rounding times the
 * largest singular value, and zero singular values are fine. `truncatedSvd` is much faster where a few are enough.
 * @throws PeftError `NOT_FINITE` for NaN or infinite entries.
 */
export function svd(a: HostMatrix): Svd {
  const bad = a.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new PeftError(
      "NOT_FINITE",
      `A matrix with ${String(a.data[bad])} at row ${Math.floor(bad / a.columns)}, column ${bad % a.columns} has no singular values. Only finite numbers do.`,
    );
  if (a.rows < a.columns) {
    const { u, s, v } = svd(transpose(a));
    return { u: v, s, v: u };
  }
  if (a.rows === a.columns) return squareSvd(a);
  const { q, r } = qr(a);
  const { u, s, v } = squareSvd(r);
  return { u: matmul(q, u), s, v };
}

/** P·B·Qᵀ with B upper bidiagonal. */
interface Bidiagonal {
  readonly n: number;
  readonly diagonal: Float64Array;
  /** Above the diagonal: n − 1 entries. */
  readonly above: Float64Array;
  /** P and Q, n × n. */
  readonly left: Float64Array;
  readonly right: Float64Array;
}

function squareSvd(a: HostMatrix): Svd {
  const bidiagonal = bidiagonalise(a);
  diagonalise(bidiagonal);
  const { n, diagonal, left, right } = bidiagonal;
  const size = (i: number): number => Math.abs(diagonal[i] as number);
  const order = Array.from(diagonal.keys()).sort((i, j) => size(j) - size(i));
  const sorted = (columns: Float64Array, sign: (column: number) => number): HostMatrix => {
    const result = new Float64Array(n * n);
    order.forEach((from, to) => {
      const factor = sign(from);
      for (let at = 0; at < n * n; at += n) result[at + to] = factor * (columns[at + from] as number);
    });
    return matrix(result, [n, n]);
  };
  return {
    u: sorted(left, () => 1),
    s: Float64Array.from(order, size),
    v: sorted(right, (column) => ((diagonal[column] as number) < 0 ? -1 : 1)),
  };
}

function bidiagonalise({ rows: n, data }: HostMatrix): Bidiagonal {
  const work = Float64Array.from(data);
  const diagonal = new Float64Array(n);
  const above = new Float64Array(Math.max(n - 1, 0));
  const lefts: Reflection[] = [];
  const rights: Reflection[] = [];
  for (let step = 0; step < n; step++) {
    const column = Float64Array.from({ length: n - step }, (_, i) => work[(step + i) * n + step] as number);
    const left = householder(column, step);
    reflectColumns(work, left, { columns: n, first: step + 1 });
    diagonal[step] = left.beta;
    lefts.push(left);
    if (step + 1 === n) break;
    const right = householder(work.slice(step * n + step + 1, (step + 1) * n), step + 1);
    reflectRows(work, right, { columns: n, first: step + 1 });
    above[step] = right.beta;
    rights.push(right);
  }
  const size = { rows: n, columns: n };
  return { n, diagonal, above, left: productOf(lefts, size), right: productOf(rights, size) };
}

/** Sweeps whose rotations are kept before the singular vectors are rotated by them. */
const BATCH = 64;

/** Sweeps until nothing is left above the diagonal: usually fewer than two a singular value. */
function diagonalise(bidiagonal: Bidiagonal): void {
  const { n, diagonal, above, left, right } = bidiagonal;
  const largest = [diagonal, above].reduce((most, x) => x.reduce((m, value) => Math.max(m, Math.abs(value)), most), 0);
  const negligible = (value: number | undefined): boolean => Math.abs(value as number) <= Number.EPSILON * largest;
  let pending: SweepPair[] = [];
  const rotateVectors = (): void => {
    rotateColumns(
      left,
      pending.map(({ fromLeft }) => fromLeft),
      n,
    );
    rotateColumns(
      right,
      pending.map(({ fromRight }) => fromRight),
      n,
    );
    pending = [];
  };
  let end = n - 1;
  for (let sweeps = 0; end > 0;) {
    if (negligible(above[end - 1])) {
      end--;
      continue;
    }
    let start = end - 1;
    while (start > 0 && !negligible(above[start - 1])) start--;
    if (sweeps++ > 30 * n)
      throw new PeftError("NOT_CONVERGED", `The singular values of a ${n} × ${n} matrix did not converge.`);
    const singular = diagonal.subarray(start, end + 1).some(negligible);
    pending.push(singular ? sweepUnshifted(bidiagonal, start, end) : sweep(bidiagonal, start, end));
    if (pending.length === BATCH) rotateVectors();
  }
  rotateVectors();
}

interface SweepPair {
  readonly fromLeft: Sweep;
  readonly fromRight: Sweep;
}

/** One implicit QR sweep over the block start…end, shifted by the smaller singular value of its last two rows. */
function sweep({ diagonal: d, above: e }: Bidiagonal, start: number, end: number): SweepPair {
  const [fromLeft, fromRight] = [emptySweep(start, end), emptySweep(start, end)];
  const shift = smallerSingularValue(d[end - 1] as number, e[end - 1] as number, d[end] as number);
  const first = d[start] as number;
  let f = (Math.abs(first) - shift) * (Math.sign(first) + shift / first);
  let g = e[start] as number;
  for (let i = start; i < end; i++) {
    const right = rotation(f, g);
    if (i > start) e[i - 1] = right.length;
    [f, e[i]] = rotated(right, d[i] as number, e[i] as number);
    [g, d[i + 1]] = rotated(right, 0, d[i + 1] as number);
    const left = rotation(f, g);
    d[i] = left.length;
    [f, d[i + 1]] = rotated(left, e[i] as number, d[i + 1] as number);
    if (i + 1 < end) [g, e[i + 1]] = rotated(left, 0, e[i + 1] as number);
    keep(fromRight, i, right);
    keep(fromLeft, i, left);
  }
  e[end - 1] = f;
  return { fromLeft, fromRight };
}

/** The sweep without a shift (Demmel & Kahan 1990): a zero anywhere on the diagonal moves to its end at once. */
function sweepUnshifted({ diagonal: d, above: e }: Bidiagonal, start: number, end: number): SweepPair {
  const [fromLeft, fromRight] = [emptySweep(start, end), emptySweep(start, end)];
  let right = { cos: 1, sin: 0, length: 0 };
  let left = right;
  for (let i = start; i < end; i++) {
    right = rotation((d[i] as number) * right.cos, e[i] as number);
    if (i > start) e[i - 1] = right.length * left.sin;
    left = rotation(left.cos * right.length, (d[i + 1] as number) * right.sin);
    d[i] = left.length;
    keep(fromRight, i, right);
    keep(fromLeft, i, left);
  }
  const rest = (d[end] as number) * right.cos;
  e[end - 1] = rest * left.sin;
  d[end] = rest * left.cos;
  return { fromLeft, fromRight };
}

/** Of [[f, g], [0, h]]: the sum of its singular values is √((|f|+|h|)² + g²), their difference √((|f|−|h|)² + g²), the product |f·h|. */
function smallerSingularValue(f: number, g: number, h: number): number {
  const [a, b] = [Math.abs(f), Math.abs(h)];
  const larger = (Math.hypot(a + b, g) + Math.hypot(a - b, g)) / 2;
  return Math.min(a, b) * (Math.max(a, b) / larger);
}
