import { PeftError } from "../errors.ts";
import { householder, productOf, reflectColumns, reflectRows, type Reflection } from "./householder.ts";
import { matmul, matrix, transpose, type HostMatrix } from "./matrix.ts";
import { qr } from "./qr.ts";

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

/** P·B·Qᵀ with B upper bidiagonal; singular vectors are kept as rows, which rotations then run along. */
interface Bidiagonal {
  readonly n: number;
  readonly diagonal: Float64Array;
  /** Above the diagonal: n − 1 entries. */
  readonly above: Float64Array;
  /** Pᵀ and Qᵀ, row-major. */
  readonly left: Float64Array;
  readonly right: Float64Array;
}

function squareSvd(a: HostMatrix): Svd {
  const bidiagonal = bidiagonalise(a);
  diagonalise(bidiagonal);
  const { n, diagonal, left, right } = bidiagonal;
  const order = Array.from(diagonal.keys()).sort(
    (i, j) => Math.abs(diagonal[j] as number) - Math.abs(diagonal[i] as number),
  );
  const sorted = (rows: Float64Array, sign: (i: number) => number): HostMatrix => {
    const result = new Float64Array(n * n);
    order.forEach((from, column) => {
      for (let i = 0; i < n; i++) result[i * n + column] = sign(from) * (rows[from * n + i] as number);
    });
    return matrix(result, [n, n]);
  };
  return {
    u: sorted(left, () => 1),
    s: Float64Array.from(order, (i) => Math.abs(diagonal[i] as number)),
    v: sorted(right, (i) => ((diagonal[i] as number) < 0 ? -1 : 1)),
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
  const rowsOf = (reflections: readonly Reflection[]): Float64Array =>
    transpose(matrix(productOf(reflections, { rows: n, columns: n }), [n, n])).data as Float64Array;
  return { n, diagonal, above, left: rowsOf(lefts), right: rowsOf(rights) };
}

/** Sweeps until nothing is left above the diagonal. About two sweeps a singular value are usual. */
function diagonalise(matrix: Bidiagonal): void {
  const { n, diagonal, above } = matrix;
  const largest = [diagonal, above].reduce(
    (most, values) => values.reduce((m, x) => Math.max(m, Math.abs(x)), most),
    0,
  );
  const negligible = (value: number | undefined): boolean => Math.abs(value as number) <= Number.EPSILON * largest;
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
    if (singular) sweepUnshifted(matrix, start, end);
    else sweep(matrix, start, end);
  }
}

/** One implicit QR sweep over the block start…end, shifted by the smaller singular value of the last two rows. */
function sweep({ n, diagonal: d, above: e, left, right }: Bidiagonal, start: number, end: number): void {
  const last = smallerSingularValue(d[end - 1] as number, e[end - 1] as number, d[end] as number);
  const first = d[start] as number;
  let f = (Math.abs(first) - last) * (Math.sign(first) + last / first);
  let g = e[start] as number;
  for (let i = start; i < end; i++) {
    const fromRight = rotation(f, g);
    if (i > start) e[i - 1] = fromRight.length;
    [f, e[i]] = rotated(fromRight, d[i] as number, e[i] as number);
    [g, d[i + 1]] = rotated(fromRight, 0, d[i + 1] as number);
    rotateRows(right, { ...fromRight, n, row: i });
    const fromLeft = rotation(f, g);
    d[i] = fromLeft.length;
    [f, d[i + 1]] = rotated(fromLeft, e[i] as number, d[i + 1] as number);
    if (i + 1 < end) [g, e[i + 1]] = rotated(fromLeft, 0, e[i + 1] as number);
    rotateRows(left, { ...fromLeft, n, row: i });
  }
  e[end - 1] = f;
}

/** The sweep without a shift (Demmel & Kahan 1990): a zero anywhere on the diagonal moves to its end at once. */
function sweepUnshifted({ n, diagonal: d, above: e, left, right }: Bidiagonal, start: number, end: number): void {
  let fromRight = { cos: 1, sin: 0, length: 0 };
  let fromLeft = { cos: 1, sin: 0, length: 0 };
  for (let i = start; i < end; i++) {
    fromRight = rotation((d[i] as number) * fromRight.cos, e[i] as number);
    if (i > start) e[i - 1] = fromRight.length * fromLeft.sin;
    fromLeft = rotation(fromLeft.cos * fromRight.length, (d[i + 1] as number) * fromRight.sin);
    d[i] = fromLeft.length;
    rotateRows(right, { ...fromRight, n, row: i });
    rotateRows(left, { ...fromLeft, n, row: i });
  }
  const rest = (d[end] as number) * fromRight.cos;
  e[end - 1] = rest * fromLeft.sin;
  d[end] = rest * fromLeft.cos;
}

/** Of [[f, g], [0, h]]: its singular values have the sum √((|f|+|h|)² + g²) and the product |f·h|. */
function smallerSingularValue(f: number, g: number, h: number): number {
  const [a, b] = [Math.abs(f), Math.abs(h)];
  const larger = (Math.hypot(a + b, g) + Math.hypot(a - b, g)) / 2;
  return Math.min(a, b) * (Math.max(a, b) / larger);
}

interface Rotation {
  readonly cos: number;
  readonly sin: number;
  readonly length: number;
}

/** Turns (f, g) into (length, 0). */
function rotation(f: number, g: number): Rotation {
  const length = Math.hypot(f, g);
  return length === 0 ? { cos: 1, sin: 0, length } : { cos: f / length, sin: g / length, length };
}

function rotated({ cos, sin }: Rotation, x: number, y: number): [number, number] {
  return [cos * x + sin * y, cos * y - sin * x];
}

/** Rotates rows `row` and `row + 1` of an n × n matrix, in place. */
function rotateRows(
  data: Float64Array,
  { cos, sin, n, row }: Rotation & { readonly n: number; readonly row: number },
): void {
  const upper = row * n;
  const lower = upper + n;
  for (let j = 0; j < n; j++) {
    const x = data[upper + j] as number;
    const y = data[lower + j] as number;
    data[upper + j] = cos * x + sin * y;
    data[lower + j] = cos * y - sin * x;
  }
}
