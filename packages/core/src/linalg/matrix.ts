import { PeftError } from "../errors.ts";

/** A row-major matrix in host memory. Results are float64. */
export interface HostMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array | Float32Array;
}

/** A matrix over `data` (not copied). */
export function matrix(data: Float64Array | Float32Array, shape: readonly [number, number]): HostMatrix {
  const [rows, columns] = shape;
  if (data.length !== rows * columns) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `A ${rows} × ${columns} matrix needs ${rows * columns} values, got ${data.length}.`,
    );
  }
  return { rows, columns, data };
}

export function transpose({ rows, columns, data }: HostMatrix): HostMatrix {
  const result = new Float64Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j] as number;
  return matrix(result, [columns, rows]);
}

/** The values in float64: themselves when they are already, so not to be written to. */
export function doubles({ data }: HostMatrix): Float64Array {
  return data instanceof Float64Array ? data : Float64Array.from(data);
}

/** Rows of b that are used for all rows of a before the next ones are read: they stay in the processor's cache. */
const BLOCK = 64;

/** A·B in float64. a [m, k], b [k, n] → [m, n]. Fast when the rows of b are long, whatever m is. */
export function matmul(a: HostMatrix, b: HostMatrix): HostMatrix {
  if (a.columns !== b.rows)
    throw new PeftError("SHAPE_MISMATCH", `Cannot multiply ${a.rows} × ${a.columns} by ${b.rows} × ${b.columns}.`);
  const factors = doubles(a);
  const rows = doubles(b);
  const { columns } = b;
  const result = new Float64Array(a.rows * columns);
  for (let from = 0; from < b.rows; from += BLOCK) {
    const count = Math.min(BLOCK, b.rows - from);
    const block = rows.subarray(from * columns, (from + count) * columns);
    for (let i = 0; i < a.rows; i++) {
      const row = result.subarray(i * columns, (i + 1) * columns);
      addRows(row, factors.subarray(i * a.columns + from, i * a.columns + from + count), block);
    }
  }
  return matrix(result, [a.rows, columns]);
}

/**
 * row += Σ factors[k]·block[k], where row k of the block begins at k·stride. Four rows at a time: the sum is then read and written a
 * fourth as often.
 */
export function addRows(row: Float64Array, factors: Float64Array, block: Float64Array, stride = row.length): void {
  const n = row.length;
  let k = 0;
  for (; k + 4 <= factors.length; k += 4) {
    const f0 = factors[k] as number;
    const f1 = factors[k + 1] as number;
    const f2 = factors[k + 2] as number;
    const f3 = factors[k + 3] as number;
    const r0 = k * stride;
    const r1 = r0 + stride;
    const r2 = r1 + stride;
    const r3 = r2 + stride;
    for (let j = 0; j < n; j++) {
      const sum = f0 * (block[r0 + j] as number) + f1 * (block[r1 + j] as number);
      row[j] = (row[j] as number) + sum + f2 * (block[r2 + j] as number) + f3 * (block[r3 + j] as number);
    }
  }
  for (; k < factors.length; k++) {
    const factor = factors[k] as number;
    for (let j = 0; j < n; j++) row[j] = (row[j] as number) + factor * (block[k * stride + j] as number);
  }
}
