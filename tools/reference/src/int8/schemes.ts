import type { HostTensor, Int8Tensor } from "@peftjs/core";

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

/** One layer's products with a quantized weight: what is left is to round what is `left`. */
export interface LayerProducts {
  readonly forward: Operands;
  readonly backward: Operands;
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
function map({ rows, columns }: Matrix, value: (row: number, column: number) => number): Matrix {
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
 * y = x·Wᵀ and dx = dy·W, W [out, in] in eight bits: W ≈ s ⊙ D ⊙ t with a factor sᵢ per row and, where it has them, a factor tⱼ per column.
 * Forward ((x ⊙ t)·Dᵀ) ⊙ s, backward ((dy ⊙ s)·D) ⊙ t: factors of what is summed over are part of what is rounded.
 */
export function layerProducts(
  { x, dy }: { readonly x: Matrix; readonly dy: Matrix },
  { shape, data, scales, inputScales }: Int8Tensor,
): LayerProducts {
  const [s, t] = [(i: number): number => scales[i] as number, (j: number): number => inputScales?.[j] ?? 1];
  const integers = { rows: shape[0] as number, columns: shape[1] as number, data: Float64Array.from(data) };
  return {
    forward: { left: scaleColumns(x, t), right: transposed(scaleColumns(transposed(integers), s)) },
    backward: { left: scaleColumns(dy, s), right: transposed(scaleColumns(integers, t)) },
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
