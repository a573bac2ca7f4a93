import { matmul, matrix, qr, svd, transpose } from "@peftjs/core";
import type { Generator, HostMatrix, HostTensor, TensorRunner } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { GaloreConfig } from "./config.ts";
import { asMatrix, asTensor, firstRows } from "./host.ts";
import { programOf } from "./programs.ts";
import { perAxis } from "./projection.ts";
import type { PerAxis, Projection } from "./projection.ts";

/** Matrices whose smaller side is at most this are decomposed exactly: that takes less time than starting programs. */
const EXACT_SIZE = 64;

export interface FindOptions {
  readonly projection: Projection;
  readonly config: Pick<GaloreConfig, "svd" | "oversample" | "powerIterations">;
  /** Randomized: (rank + oversample)·m normal numbers are drawn, m the length of the axis that is not compressed. */
  readonly generator: Generator;
  readonly runner: TensorRunner;
}

/**
 * Leading singular vectors of a gradient on the axes that are compressed, as orthonormal rows of arbitrary sign: from the exact SVD
 * G = U·S·Vᵀ in float64 (`isExact`), else by randomized subspace iteration (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1). With
 * G [m, n], columns compressed and w = r + oversample: Q = orth(Ω·G), Ω [w, m] standard normal; `powerIterations` times
 * Q = orth(orth(Q·Gᵀ)·G); U'·S·V'ᵀ = svd(Q·Gᵀ), basis = the first r rows of U'ᵀ·Q. The products with G run on `runner`; what is left
 * for the host has w rows.
 */
export async function findBases(gradient: HostTensor, options: FindOptions): Promise<PerAxis<HostTensor>> {
  return isExact(gradient.shape, options) ? exact(gradient, options.projection) : randomized(gradient, options);
}

/** Whether the gradient as a whole is decomposed: on demand, where it is small, or where a sketch would be no smaller. */
export function isExact(
  shape: readonly number[],
  { projection, config }: Pick<FindOptions, "projection" | "config">,
): boolean {
  const smaller = Math.min(...shape);
  return config.svd === "exact" || smaller <= EXACT_SIZE || projection.rank + config.oversample >= smaller;
}

async function randomized(
  gradient: HostTensor,
  { projection, config, generator, runner }: FindOptions,
): Promise<PerAxis<HostTensor>> {
  const timesGradient = async (factor: HostMatrix, transposed: boolean): Promise<HostMatrix> => {
    const program = programOf(runner, `product ${transposed}`, ({ x: { q, g } = {} }) => ({
      y: { product: tf.matMul(q as tf.Tensor2D, g as tf.Tensor2D, false, transposed) },
    }));
    const { y } = await program.run({ x: { q: asTensor(factor), g: gradient } });
    return asMatrix(y?.["product"] as HostTensor);
  };
  // Of two compressed axes, the columns' sketch gives the rows' vectors, too.
  const flipped = projection.axes.columns === undefined;
  const [rows = 0, columns = 0] = gradient.shape;
  const across = flipped ? columns : rows;
  const width = projection.rank + config.oversample;
  const along = async (q: HostMatrix) => orthonormal(await timesGradient(q, flipped));
  let q = await along(matrix(generator.normal(width * across), [width, across]));
  for (let i = 0; i < config.powerIterations; i++) q = await along(orthonormal(await timesGradient(q, !flipped)));
  const { u, v } = svd(await timesGradient(q, !flipped));
  const found = firstRows(matmul(transpose(u), q), projection.rank);
  const other = firstRows(transpose(v), projection.rank);
  return perAxis(projection.axes, (_, axis) => asTensor((axis === "columns") !== flipped ? found : other));
}

function exact(gradient: HostTensor, { rank, axes }: Projection): PerAxis<HostTensor> {
  const { u, v } = svd(asMatrix(gradient));
  return perAxis(axes, (_, axis) => asTensor(firstRows(transpose(axis === "rows" ? u : v), rank)));
}

/** Orthonormal rows that span those of `rows`. */
export function orthonormal(rows: HostMatrix): HostMatrix {
  return transpose(qr(transpose(rows)).q);
}

/**
 * New basis vectors pointing to the side of the old ones of the same index: −p′ᵢ where ⟨p′ᵢ, pᵢ⟩ < 0. Singular vectors have no sign of
 * their own, but a kept first moment does.
 */
export function alignSigns(bases: PerAxis<HostTensor>, previous: PerAxis<HostTensor>): PerAxis<HostTensor> {
  return perAxis(bases, (basis, axis) => {
    const [rank = 0, length = 0] = basis.shape;
    const data = basis.data.slice() as Float32Array;
    for (let i = 0; i < rank; i++) {
      if (inner(basis, previous[axis] as HostTensor, i) >= 0) continue;
      for (let at = i * length; at < (i + 1) * length; at++) data[at] = -(data[at] as number);
    }
    return { ...basis, data };
  });
}

/** |cos| between the first vectors of two bases; of two axes the smaller one. */
export function firstCosine(bases: PerAxis<HostTensor>, previous: PerAxis<HostTensor>): number {
  const cosines = perAxis(bases, (basis, axis) => {
    const old = previous[axis] as HostTensor;
    const norms = Math.sqrt(inner(basis, basis, 0) * inner(old, old, 0));
    return norms === 0 ? 0 : Math.abs(inner(basis, old, 0)) / norms;
  });
  return Math.min(cosines.rows ?? 1, cosines.columns ?? 1);
}

/** The inner product of row i of both. */
function inner(a: HostTensor, b: HostTensor, i: number): number {
  const length = a.shape[1] ?? 0;
  let sum = 0;
  for (let at = i * length; at < (i + 1) * length; at++) sum += (a.data[at] as number) * (b.data[at] as number);
  return sum;
}

/** P′·Pᵀ [r, r] of each axis: what `InnerRule.carry` turns a state with. */
export function turnsBetween(previous: PerAxis<HostTensor>, bases: PerAxis<HostTensor>): PerAxis<HostTensor> {
  return perAxis(bases, (basis, axis) =>
    asTensor(matmul(asMatrix(basis), transpose(asMatrix(previous[axis] as HostTensor)))),
  );
}
