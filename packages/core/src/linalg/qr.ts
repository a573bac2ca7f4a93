import { householder, productOf, reflectColumns, type Reflection } from "./householder.ts";
import { matrix, type HostMatrix } from "./matrix.ts";

export interface QrOptions {
  /** Only this many columns of Q and rows of R. Default: all min(m, n). */
  readonly rank?: number;
}

/**
 * Thin QR by Householder reflections, with LAPACK's signs: A = Q·R, a [m, n], k = min(m, n, rank), q [m, k] with orthonormal columns,
 * r [k, n] upper triangular. Zero columns and rank deficiency are fine: Q stays orthonormal. The first `rank` columns of Q and rows
 * of R are those of the full factorisation, and cost only their share of it.
 */
export function qr(
  a: HostMatrix,
  { rank = Infinity }: QrOptions = {},
): { readonly q: HostMatrix; readonly r: HostMatrix } {
  const { rows: m, columns: n } = a;
  const k = Math.min(m, n, rank);
  const work = Float64Array.from(a.data);
  const reflections: Reflection[] = [];
  for (let step = 0; step < k; step++) {
    const column = Float64Array.from({ length: m - step }, (_, i) => work[(step + i) * n + step] as number);
    const reflection = householder(column, step);
    reflectColumns(work, reflection, { columns: n, first: step });
    reflections.push(reflection);
  }
  const r = new Float64Array(k * n);
  for (let i = 0; i < k; i++) r.set(work.subarray(i * n + i, (i + 1) * n), i * n + i);
  return { q: matrix(productOf(reflections, { rows: m, columns: k }), [m, k]), r: matrix(r, [k, n]) };
}
