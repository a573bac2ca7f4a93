import { float32, largestEigenPairs, matmul, svd, transpose, whitening } from "@peftjs/core";
import type { Generator, HostTensor, TensorRunner } from "@peftjs/core";
import type { GaloreConfig } from "./config.ts";
import { asMatrix, asTensor, firstRows } from "./host.ts";
import { identity, multiplied, orthonormal, RESOLVED } from "./orthonormal.ts";
import type { Rows } from "./orthonormal.ts";
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
 * G [m, n], columns compressed and w = r + oversample: Y = Ω·G, Ω [w, m] standard normal; `powerIterations` times
 * Y = orth(orth(Y)·Gᵀ)·G; Q = orth(Y), U·S²·Uᵀ = (Q·Gᵀ)·(Q·Gᵀ)ᵀ, basis = the first r rows of Uᵀ·Q. What is as long as an axis is
 * multiplied on `runner`, in float32; the host has matrices [w, w] alone, in float64.
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
  // Of two compressed axes, the columns' sketch gives the rows' vectors, too.
  const flipped = projection.axes.columns === undefined;
  const [rows = 0, columns = 0] = gradient.shape;
  const across = flipped ? columns : rows;
  const width = projection.rank + config.oversample;
  const whitened = (y: Rows, transposed: boolean): Promise<Rows> =>
    multiplied(runner, { factor: whitening(y.gram, RESOLVED).factor, rows: y.rows, gradient, transposed });
  const unit = identity(width);
  const sketch = float32(generator.normal(width * across), [width, across]);
  let y = await multiplied(runner, { factor: unit, rows: sketch, gradient, transposed: flipped });
  for (let i = 0; i < config.powerIterations; i++) y = await whitened(await whitened(y, !flipped), flipped);
  const q = await orthonormal(runner, y, generator);
  const seen = await multiplied(runner, { factor: unit, rows: q, gradient, transposed: !flipped });
  const { vectors: factor } = largestEigenPairs(seen.gram, projection.rank);
  const leading = async (of: HostTensor): Promise<HostTensor> =>
    orthonormal(runner, await multiplied(runner, { factor, rows: of }), generator);
  const found = await leading(q);
  const both = projection.axes.rows !== undefined && !flipped;
  const other = both ? await leading(seen.rows) : found;
  return perAxis(projection.axes, (_, axis) => ((axis === "columns") !== flipped ? found : other));
}

function exact(gradient: HostTensor, { rank, axes }: Projection): PerAxis<HostTensor> {
  const { u, v } = svd(asMatrix(gradient));
  return perAxis(axes, (_, axis) => asTensor(firstRows(transpose(axis === "rows" ? u : v), rank)));
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
