import type { Generator } from "../random.ts";
import { doubles, matmul, matrix, transpose, type HostMatrix } from "./matrix.ts";
import { qr } from "./qr.ts";
import { svd, type Svd } from "./svd.ts";

export interface TruncatedSvdOptions {
  /** Singular values wanted; at most min(m, n) exist. */
  readonly rank: number;
  /** Subspace iterations N. Each sharpens the separation of neighbouring singular values by their squared ratio. */
  readonly iterations: number;
  /** Columns of the sketch beyond `rank`; they are dropped at the end. Default 0. */
  readonly oversampling?: number;
  readonly generator: Generator;
}

/**
 * The leading singular values and vectors by randomised subspace iteration (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1):
 * M = A, or Aᵀ when A is wide; R [n, rank + oversampling] standard normal, Q = orth(M·R); N times Q = orth(Mᵀ·Q), Q = orth(M·Q);
 * U'·S·Vᵀ = svd(Qᵀ·M), U = Q·U'. u [m, rank], s [rank] descending, v [n, rank]. From the same random numbers it is what the Python
 * libraries compute.
 */
export function truncatedSvd(a: HostMatrix, options: TruncatedSvdOptions): Svd {
  if (a.rows < a.columns) {
    const { u, s, v } = truncatedSvd(transpose(a), options);
    return { u: v, s, v: u };
  }
  const { rank, iterations, oversampling = 0, generator } = options;
  const width = Math.min(rank + oversampling, a.columns);
  const m = matrix(doubles(a), [a.rows, a.columns]);
  const mT = transpose(m);
  // Bases are kept as rows: products with the long rows of M and Mᵀ are the fast ones.
  const orthonormal = (rows: HostMatrix): HostMatrix => transpose(qr(transpose(rows)).q);
  const sketch = matrix(generator.normal(a.columns * width), [a.columns, width]);
  let q = orthonormal(matmul(transpose(sketch), mT));
  for (let i = 0; i < iterations; i++) q = orthonormal(matmul(orthonormal(matmul(q, m)), mT));
  const small = svd(matmul(q, m));
  const leading = Math.min(rank, width);
  return {
    u: firstColumns(matmul(transpose(q), small.u), leading),
    s: small.s.slice(0, leading),
    v: firstColumns(small.v, leading),
  };
}

function firstColumns({ rows, columns, data }: HostMatrix, count: number): HostMatrix {
  if (count === columns) return { rows, columns, data };
  const result = new Float64Array(rows * count);
  for (let i = 0; i < rows; i++) result.set(data.subarray(i * columns, i * columns + count), i * count);
  return matrix(result, [rows, count]);
}
