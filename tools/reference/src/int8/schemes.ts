import { quantize, widen } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";

/** Row by row, in double precision. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** A product left·rightᵀ. */
export interface Operands {
  readonly left: Matrix;
  readonly right: Matrix;
}

/** One layer's product as it is, and on a quantized weight: what is left is to round `held.left`. */
export interface LayerProduct {
  readonly exact: Operands;
  readonly held: Operands;
}

export interface LayerProducts {
  readonly forward: LayerProduct;
  readonly backward: LayerProduct;
}

const LARGEST = 127;

export function matrixOf({ shape, data }: HostTensor): Matrix {
  return { rows: shape[0] as number, columns: shape[1] as number, data: Float64Array.from(data) };
}

/** left·rightᵀ. */
export function product({ left, right }: Operands): Matrix {
  const [n, k, m] = [left.rows, left.columns, right.rows];
  const data = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += (left.data[i * k + p] as number) * (right.data[j * k + p] as number);
      data[i * m + j] = sum;
    }
  }
  return { rows: n, columns: m, data };
}

export function transposed({ rows, columns, data }: Matrix): Matrix {
  return map({ rows: columns, columns: rows, data }, (i, j) => data[j * columns + i] as number);
}

/** A matrix of the shape of `like`. */
export function map({ rows, columns }: Matrix, value: (row: number, column: number) => number): Matrix {
  return {
    rows,
    columns,
    data: Float64Array.from({ length: rows * columns }, (_, at) => value(Math.floor(at / columns), at % columns)),
  };
}

export function scaleColumns(matrix: Matrix, factor: (column: number) => number): Matrix {
  const { columns, data } = matrix;
  return map(matrix, (i, j) => (data[i * columns + j] as number) * factor(j));
}

/** Largest magnitude of each column. */
export function columnSizes({ rows, columns, data }: Matrix): readonly number[] {
  return Array.from({ length: columns }, (_, j) => {
    let largest = 0;
    for (let i = 0; i < rows; i++) largest = Math.max(largest, Math.abs(data[i * columns + j] as number));
    return largest;
  });
}

/**
 * y = x·Wᵀ and dx = dy·W, W [out, in] in eight bits with one factor sᵢ per row: W ≈ s ⊙ D. Forward (x·Dᵀ) ⊙ s, backward (dy ⊙ s)·D: there
 * the factors belong to what is summed over, so they are part of what is rounded. With `factors` c [in], W·diag(c) is what is held,
 * x/c what is multiplied with it, and dx is divided by c: the same function of other features.
 */
export function layerProducts(
  { x, dy, weight }: { readonly x: Matrix; readonly dy: Matrix; readonly weight: Matrix },
  factors: readonly number[] = [],
): LayerProducts {
  const c = (column: number): number => factors[column] ?? 1;
  const scaled = scaleColumns(weight, c);
  const { rows, columns } = weight;
  const held = quantize(
    { dtype: "float32", shape: [rows, columns], data: Float32Array.from(scaled.data) },
    { axis: 0 },
  );
  const values = matrixOf(widen(held));
  const integers = map(weight, (i, j) => (held.data[i * columns + j] as number) / c(j));
  return {
    forward: { exact: { left: x, right: weight }, held: { left: scaleColumns(x, (j) => 1 / c(j)), right: values } },
    backward: {
      exact: { left: dy, right: transposed(weight) },
      held: { left: scaleColumns(dy, (i) => held.scales[i] as number), right: transposed(integers) },
    },
  };
}

/** Rounds to integers of −127 … 127 times a factor: one for the whole matrix, or one per row. */
export function rounded(matrix: Matrix, by: "tensor" | "row"): Matrix {
  const sizes = columnSizes(transposed(matrix));
  const all = Math.max(...sizes);
  const { columns, data } = matrix;
  return map(matrix, (i, j) => {
    const factor = (by === "row" ? (sizes[i] as number) : all) / LARGEST;
    return factor === 0 ? 0 : Math.round((data[i * columns + j] as number) / factor) * factor;
  });
}

/** Rounds by rows all but the k columns with the largest values, which stay as they are: a side product in float32. */
export function roundedApart(matrix: Matrix, k: number): Matrix {
  const sizes = columnSizes(matrix);
  const kept = new Set(
    sizes
      .map((_, j) => j)
      .sort((i, j) => (sizes[j] as number) - (sizes[i] as number))
      .slice(0, k),
  );
  const rest = rounded(
    scaleColumns(matrix, (j) => (kept.has(j) ? 0 : 1)),
    "row",
  );
  const { columns, data } = matrix;
  return map(matrix, (i, j) => (kept.has(j) ? data : rest.data)[i * columns + j] as number);
}

/** c = √(max|xⱼ| / max|Wⱼ|) of each input feature j: both sides get columns of like sizes (Xiao et al. 2023, eq. 4, α = ½). */
export function smoothing(x: Matrix, weight: Matrix): readonly number[] {
  const [inputs, weights] = [columnSizes(x), columnSizes(weight)];
  return inputs.map((size, j) => {
    const c = Math.sqrt(size / (weights[j] as number));
    return Number.isFinite(c) && c > 0 ? c : 1;
  });
}

/** ‖z − y‖/‖y‖ of the whole matrix, and the mean of the rows', those of zeros aside. */
export interface RelativeError {
  readonly whole: number;
  readonly rows: number;
}

export function relativeError(approximate: Matrix, exact: Matrix): RelativeError {
  const { rows, columns } = exact;
  const ratios: number[] = [];
  const total = { difference: 0, exact: 0 };
  for (let i = 0; i < rows; i++) {
    const row = { difference: 0, exact: 0 };
    for (let at = i * columns; at < (i + 1) * columns; at++) {
      const value = exact.data[at] as number;
      row.difference += ((approximate.data[at] as number) - value) ** 2;
      row.exact += value ** 2;
    }
    total.difference += row.difference;
    total.exact += row.exact;
    if (row.exact > 0) ratios.push(Math.sqrt(row.difference / row.exact));
  }
  return {
    whole: Math.sqrt(total.difference / total.exact),
    rows: ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length,
  };
}
