import * as tf from "@tensorflow/tfjs-core";
import type { GaloreConfig } from "./config.ts";

/** Something for each axis of the stored matrix that is compressed. */
export interface PerAxis<T> {
  readonly rows?: T | undefined;
  readonly columns?: T | undefined;
}

/** How a matrix is compressed, in terms of its stored axes. */
export interface Projection {
  readonly rank: number;
  readonly axes: PerAxis<true>;
  /** Shape of each basis: orthonormal rows, [rank, length of the axis]. */
  readonly bases: PerAxis<readonly [number, number]>;
  /** Shape of R and so of the state. */
  readonly reduced: readonly [number, number];
}

export interface ProjectionOptions extends Pick<GaloreConfig, "projType" | "rank"> {
  /** How the weight is stored. */
  readonly layout: "out_in" | "in_out";
}

/**
 * The axes that a projection compresses (Zhao et al. 2024, section 4.2; sides of the published code): `std` the smaller of (out, in),
 * `reverse_std` the larger, of a square matrix the input and the output; `right` the input, `left` the output, `full` both. Decided on
 * (out, in), so that a transposed weight gets the transposed projection.
 */
export function projectionOf(stored: readonly [number, number], options: ProjectionOptions): Projection {
  const transposed = options.layout === "in_out";
  const [rows, columns] = stored;
  const [out, inner] = transposed ? [columns, rows] : [rows, columns];
  const { output, input } = compressed(options.projType, out >= inner);
  const rank = Math.min(options.rank, out, inner);
  const axes = transposed ? { rows: input, columns: output } : { rows: output, columns: input };
  return {
    rank,
    axes: { ...(axes.rows && { rows: true }), ...(axes.columns && { columns: true }) },
    bases: { ...(axes.rows && { rows: [rank, rows] }), ...(axes.columns && { columns: [rank, columns] }) },
    reduced: [axes.rows ? rank : rows, axes.columns ? rank : columns],
  };
}

function compressed(
  type: GaloreConfig["projType"],
  tall: boolean,
): { readonly output: boolean; readonly input: boolean } {
  if (type === "full") return { output: true, input: true };
  const input = type === "right" || (type === "std" && tall) || (type === "reverse_std" && !tall);
  return { output: !input, input };
}

/**
 * R = P·G·Qᵀ (Zhao et al. 2024, eq. 4–5; for one side the other factor is absent). G [m, n], P = rows [r, m], Q = columns [r, n]:
 * R is [r, n], [m, r] or [r, r].
 */
export function project(matrix: tf.Tensor2D, { rows, columns }: PerAxis<tf.Tensor2D>): tf.Tensor2D {
  const left: tf.Tensor2D = rows === undefined ? matrix : tf.matMul(rows, matrix);
  return columns === undefined ? left : tf.matMul(left, columns, false, true);
}

/** D = Pᵀ·N·Q, the way back: N of the shape of R, D [m, n]. */
export function backproject(reduced: tf.Tensor2D, { rows, columns }: PerAxis<tf.Tensor2D>): tf.Tensor2D {
  const right: tf.Tensor2D = columns === undefined ? reduced : tf.matMul(reduced, columns);
  return rows === undefined ? right : tf.matMul(rows, right, true);
}

/** Calls `map` for the axes that are there. */
export function perAxis<T, U>(values: PerAxis<T>, map: (value: T, axis: keyof PerAxis<T>) => U): PerAxis<U> {
  const { rows, columns } = values;
  return {
    ...(rows !== undefined && { rows: map(rows, "rows") }),
    ...(columns !== undefined && { columns: map(columns, "columns") }),
  };
}
