import type { Random } from "../random.ts";
import type { SparseMatrix } from "./cooccurrence.ts";
import { symmetricEigen } from "./eigen.ts";

const OVERSAMPLING = 16;

const ITERATIONS = 4;

/** U·√S of the truncated singular value decomposition M ≈ U·S·Vᵀ, [size, rank] row by row (randomized subspace iteration). */
export function scaledLeftVectors(
  matrix: SparseMatrix,
  options: { readonly rank: number; readonly random: Random },
): Float32Array {
  const width = options.rank + OVERSAMPLING;
  const start = new Float32Array(matrix.size * width).map(() => options.random.normal());
  let left = orthonormalize(multiply(matrix, start, width), width);
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const right = orthonormalize(multiplyTransposed(matrix, left, width), width);
    left = orthonormalize(multiply(matrix, right, width), width);
  }
  // Mᵀ·Q = Bᵀ; the eigenvectors of B·Bᵀ turn Q into the left singular vectors.
  const projected = multiplyTransposed(matrix, left, width);
  const { values, vectors } = symmetricEigen(gram(projected, width), width);
  const result = new Float32Array(matrix.size * options.rank);
  for (let row = 0; row < matrix.size; row++) {
    for (let j = 0; j < options.rank; j++) {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += (left[row * width + k] as number) * (vectors[k * width + j] as number);
      result[row * options.rank + j] = sum * Math.max(values[j] as number, 0) ** 0.25;
    }
  }
  return result;
}

/** M·X. */
function multiply(matrix: SparseMatrix, x: Float32Array, width: number): Float32Array {
  const result = new Float32Array(matrix.size * width);
  for (let row = 0; row < matrix.size; row++) {
    const target = result.subarray(row * width, (row + 1) * width);
    for (let at = matrix.rowStart[row] as number; at < (matrix.rowStart[row + 1] as number); at++) {
      const value = matrix.value[at] as number;
      const from = (matrix.column[at] as number) * width;
      for (let k = 0; k < width; k++) target[k] = (target[k] as number) + value * (x[from + k] as number);
    }
  }
  return result;
}

/** Mᵀ·X. */
function multiplyTransposed(matrix: SparseMatrix, x: Float32Array, width: number): Float32Array {
  const result = new Float32Array(matrix.size * width);
  for (let row = 0; row < matrix.size; row++) {
    const source = x.subarray(row * width, (row + 1) * width);
    for (let at = matrix.rowStart[row] as number; at < (matrix.rowStart[row + 1] as number); at++) {
      const value = matrix.value[at] as number;
      const to = (matrix.column[at] as number) * width;
      for (let k = 0; k < width; k++) result[to + k] = (result[to + k] as number) + value * (source[k] as number);
    }
  }
  return result;
}

/** Xᵀ·X, [width, width]. */
function gram(x: Float32Array, width: number): Float64Array {
  const result = new Float64Array(width * width);
  for (let row = 0; row < x.length; row += width) {
    for (let i = 0; i < width; i++) {
      const value = x[row + i] as number;
      if (value === 0) continue;
      for (let j = 0; j < width; j++) {
        result[i * width + j] = (result[i * width + j] as number) + value * (x[row + j] as number);
      }
    }
  }
  return result;
}

/** Orthonormal basis of the columns: X·V·Λ^(-1/2) with Xᵀ·X = V·Λ·Vᵀ, twice, since once loses half the digits. */
function orthonormalize(x: Float32Array, width: number): Float32Array {
  return orthonormalizeOnce(orthonormalizeOnce(x, width), width);
}

function orthonormalizeOnce(x: Float32Array, width: number): Float32Array {
  const { values, vectors } = symmetricEigen(gram(x, width), width);
  const floor = 1e-12 * (values[0] as number);
  const result = new Float32Array(x.length);
  const scales = values.map((value) => 1 / Math.sqrt(Math.max(value, floor)));
  for (let row = 0; row < x.length; row += width) {
    for (let k = 0; k < width; k++) {
      const value = x[row + k] as number;
      for (let j = 0; j < width; j++) {
        result[row + j] =
          (result[row + j] as number) + value * (vectors[k * width + j] as number) * (scales[j] as number);
      }
    }
  }
  return result;
}
