import { matmul, matrix, qr, svd, transpose } from "@peftjs/core";
import type { Generator, HostMatrix, HostTensor, TensorRunner } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { GaloreConfig } from "./config.ts";
import { asMatrix, asTensor, firstRows } from "./host.ts";
import { perAxis } from "./projection.ts";
import type { PerAxis, Projection } from "./projection.ts";

/** Matrices whose smaller side is at most this are decomposed exactly: that takes less time than starting programs. */
const EXACT_SIZE = 64;

export interface BasisFinder {
  /** Leading singular vectors of the gradient on the axes that are compressed, as orthonormal rows. Signs are arbitrary. */
  find(gradient: HostTensor, options: FindOptions): Promise<PerAxis<HostTensor>>;
  dispose(): Promise<void>;
}

export interface FindOptions {
  readonly projection: Projection;
  /** Randomized: (rank + oversample)·m normal numbers are drawn, m the length of the axis that is not compressed. */
  readonly generator: Generator;
}

/**
 * Finds bases from gradients: the exact SVD G = U·S·Vᵀ in float64, of small matrices or on demand, else randomized subspace iteration
 * (Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1). With G [m, n], columns compressed and w = r + oversample: Q = orth(Ω·G),
 * Ω [w, m] standard normal; `powerIterations` times Q = orth(orth(Q·Gᵀ)·G); U'·S·V'ᵀ = svd(Q·Gᵀ), basis = the first r rows of U'ᵀ·Q. The
 * products with G run on `runner`; what is left for the host has w rows.
 */
export function basisFinder(
  config: Pick<GaloreConfig, "svd" | "oversample" | "powerIterations">,
  runner: TensorRunner,
): BasisFinder {
  const times = (transposed: boolean) =>
    runner.compile(({ x: { factor, gradient } = {} }) => ({
      y: { product: tf.matMul(factor as tf.Tensor2D, gradient as tf.Tensor2D, false, transposed) },
    }));
  const programs = { plain: times(false), transposed: times(true) };
  const timesGradient = async (factor: HostMatrix, gradient: HostTensor, transposed: boolean): Promise<HostMatrix> => {
    const program = transposed ? programs.transposed : programs.plain;
    const { y } = await program.run({ x: { factor: asTensor(factor), gradient } });
    return asMatrix(y?.["product"] as HostTensor);
  };

  async function randomized(
    gradient: HostTensor,
    { projection, generator }: FindOptions,
  ): Promise<PerAxis<HostTensor>> {
    // Of two compressed axes, the columns' sketch gives the rows' vectors, too.
    const flipped = projection.axes.columns === undefined;
    const [rows = 0, columns = 0] = gradient.shape;
    const across = flipped ? columns : rows;
    const width = projection.rank + config.oversample;
    const along = async (q: HostMatrix) => orthonormal(await timesGradient(q, gradient, flipped));
    let q = await along(matrix(generator.normal(width * across), [width, across]));
    for (let i = 0; i < config.powerIterations; i++)
      q = await along(orthonormal(await timesGradient(q, gradient, !flipped)));
    const { u, v } = svd(await timesGradient(q, gradient, !flipped));
    const found = firstRows(matmul(transpose(u), q), projection.rank);
    const other = firstRows(transpose(v), projection.rank);
    return perAxis(projection.axes, (_, axis) => asTensor((axis === "columns") !== flipped ? found : other));
  }

  return {
    find: async (gradient, options) => {
      const smaller = Math.min(...gradient.shape);
      const { rank } = options.projection;
      const small = smaller <= EXACT_SIZE || rank + config.oversample >= smaller;
      if (config.svd === "exact" || small) return exact(gradient, options.projection);
      return randomized(gradient, options);
    },
    dispose: async () => {
      await Promise.all([programs.plain.dispose(), programs.transposed.dispose()]);
    },
  };
}

function exact(gradient: HostTensor, { rank, axes }: Projection): PerAxis<HostTensor> {
  const { u, v } = svd(asMatrix(gradient));
  return perAxis(axes, (_, axis) => asTensor(firstRows(transpose(axis === "rows" ? u : v), rank)));
}

/** Orthonormal rows that span those of `rows`. */
function orthonormal(rows: HostMatrix): HostMatrix {
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
