import { createGenerator, largestEigenPairs, matmul, matrix, qr, transpose, truncatedSvd } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";

/** Principal components of all rows seen so far. */
export interface Pca {
  /** Rows seen, n. */
  readonly count: number;
  /** μ [in] */
  readonly mean: Float64Array;
  /** V [k, in]: orthonormal rows; the entry of largest magnitude is positive. */
  readonly components: HostMatrix;
  /** S [k], descending. */
  readonly singularValues: Float64Array;
  /** Σ (x − μ)² over all rows and features. */
  readonly variation: number;
}

/** With more rows and more columns than this, singular vectors are found by subspace iteration. */
const EXACT = 512;
/** Of that iteration, as in the Python library. */
const SUBSPACE = { iterations: 4, seed: 42 };

/**
 * Incremental principal component analysis (Ross et al. 2008; Paischer et al. 2024, section 3.1). With n rows of mean μ seen and n_b new
 * ones X of mean μ_b, S and V are the first k singular values and right vectors of
 *
 *     [ diag(S)·V ; X − μ_b ; √(n·n_b/(n + n_b))·(μ − μ_b) ]
 *
 * of which the first and the last part are missing for the first batch. x [n_b, in], k ≤ n_b, k ≤ in.
 */
export function updatePca(before: Pca | null, x: HostMatrix, k: number): Pca {
  const kept = before === null ? 0 : k;
  const features = x.columns;
  const stacked = new Float64Array((kept + x.rows + (before === null ? 0 : 1)) * features);
  const batchMean = columnMeans(x);
  const centred = stacked.subarray(kept * features, (kept + x.rows) * features);
  for (let i = 0; i < x.data.length; i++) centred[i] = x.data[i]! - batchMean[i % features]!;
  const count = (before?.count ?? 0) + x.rows;
  if (before !== null) {
    const { components, singularValues, mean } = before;
    components.data.forEach((value, i) => (stacked[i] = value * singularValues[Math.floor(i / features)]!));
    const factor = Math.sqrt((before.count * x.rows) / count);
    const shift = stacked.subarray((kept + x.rows) * features);
    for (let j = 0; j < features; j++) shift[j] = factor * (mean[j]! - batchMean[j]!);
  }
  const { values, vectors } = rightSingularVectors(matrix(stacked, [stacked.length / features, features]), k);
  return {
    count,
    mean: batchMean.map((value, j) => value + ((before?.count ?? 0) / count) * ((before?.mean[j] ?? 0) - value)),
    components: positive(vectors),
    singularValues: values,
    variation: (before?.variation ?? 0) + squares(stacked.subarray(kept * features)),
  };
}

/** Share of each component in the variance: S²/Σ(x − μ)². */
export function explainedVarianceRatios({ singularValues, variation }: Pca): Float64Array {
  return singularValues.map((value) => (variation === 0 ? 0 : (value * value) / variation));
}

/** How many components, from the first on, have a cosine of at least `tau` with what they were before. */
export function convergedComponents(before: Pca | null, { components }: Pca, tau: number): number {
  if (before === null) return 0;
  const { rows, columns, data } = components;
  for (let row = 0; row < rows; row++) {
    let cosine = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) cosine += data[i]! * before.components.data[i]!;
    if (cosine < tau) return row;
  }
  return rows;
}

function columnMeans({ rows, columns, data }: HostMatrix): Float64Array {
  const sums = new Float64Array(columns);
  for (let i = 0; i < data.length; i++) sums[i % columns]! += data[i]!;
  return sums.map((sum) => sum / rows);
}

function squares(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum;
}

/**
 * The first k singular values and right singular vectors [k, in] of X. Up to 512 on the smaller side they come from the eigenvectors of
 * the smaller of XᵀX and X·Xᵀ, which for many tokens and few features is many times faster than the decomposition of X; squaring loses
 * what is below 1e-8 of the largest singular value, less than X in float32 has. Above that they come from a sketch of 2k columns, the
 * same one each time, so that what changes between two batches is the data.
 */
function rightSingularVectors(
  x: HostMatrix,
  k: number,
): { readonly values: Float64Array; readonly vectors: HostMatrix } {
  if (Math.min(x.rows, x.columns) > EXACT) {
    const { iterations, seed } = SUBSPACE;
    const { s, v } = truncatedSvd(x, { rank: k, iterations, oversampling: k, generator: createGenerator(seed) });
    return { values: s, vectors: transpose(v) };
  }
  const tall = x.rows >= x.columns;
  const { values, vectors } = largestEigenPairs(gram(tall ? x : transpose(x)), k);
  return {
    values: values.map((value) => Math.sqrt(Math.max(value, 0))),
    // Uᵀ·X = S·Vᵀ has orthogonal rows; where S is zero, what is needed is any row orthogonal to the others.
    vectors: tall ? vectors : transpose(qr(transpose(matmul(vectors, x))).q),
  };
}

/** XᵀX; the lower half is filled. Four rows at a time: the result is read and written a quarter as often. */
function gram({ rows, columns: n, data }: HostMatrix): HostMatrix {
  const result = new Float64Array(n * n);
  const missing = new Float64Array(n);
  const row = (index: number) => (index < rows ? data.subarray(index * n, (index + 1) * n) : missing);
  for (let first = 0; first < rows; first += 4) {
    const [a, b, c, d] = [row(first), row(first + 1), row(first + 2), row(first + 3)];
    for (let i = 0; i < n; i++) {
      const [ai, bi, ci, di] = [a[i]!, b[i]!, c[i]!, d[i]!];
      const at = i * n;
      for (let j = 0; j <= i; j++) result[at + j]! += ai * a[j]! + bi * b[j]! + ci * c[j]! + di * d[j]!;
    }
  }
  return matrix(result, [n, n]);
}

/** Rows with their signs chosen such that the entry of largest magnitude is positive. */
function positive({ rows, columns, data }: HostMatrix): HostMatrix {
  const result = Float64Array.from(data);
  for (let row = 0; row < rows; row++) {
    const values = result.subarray(row * columns, (row + 1) * columns);
    const largest = values.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
    if (largest < 0) values.forEach((value, i) => (values[i] = -value));
  }
  return matrix(result, [rows, columns]);
}
