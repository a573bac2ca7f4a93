import { largestEigenPairs, PeftError } from "@peftjs/core";
import type { EigenPairs } from "@peftjs/core";
import { kernelMatrix, type Kernel } from "./kernel.ts";

/** Eigenvalues of a kernel of examples with themselves. */
export interface Spectrum {
  /** λ_i, descending. */
  readonly values: Float64Array;
  /** λ_i / Σλ */
  readonly normalised: Float64Array;
  /** Σ_{j≤i} λ_j / Σλ */
  readonly cumulative: Float64Array;
  /** exp(−Σ p_i·log p_i), p = max(λ, 0)/Σ max(λ, 0): N·C when all are equal, 1 when there is one (Roy & Vetterli 2007). */
  readonly effectiveRank: number;
}

/** @throws PeftError `KERNEL_ASYMMETRIC`. */
export function spectrum(kernel: Kernel): Spectrum {
  const { values } = eigenPairs(kernel);
  const sum = values.reduce((total, value) => total + value, 0);
  const normalised = values.map((value) => value / sum);
  let reached = 0;
  const cumulative = normalised.map((share) => (reached += share));
  const positive = values.filter((value) => value > 0);
  const mass = positive.reduce((total, value) => total + value, 0);
  const entropy = positive.reduce((total, value) => total - (value / mass) * Math.log(value / mass), 0);
  return { values, normalised, cumulative, effectiveRank: Math.exp(entropy) };
}

/**
 * ‖U_kᵀV_k‖²_F / k of the first k eigenvectors of two kernels: 1 when they span the same subspace, 0 when they are orthogonal.
 * @throws PeftError `KERNEL_ASYMMETRIC`, `SHAPE_MISMATCH`.
 */
export function subspaceOverlap(a: Kernel, b: Kernel, k: number): number {
  const n = a.shape[0] * a.shape[1];
  if (a.shape.join() !== b.shape.join() || !Number.isInteger(k) || k < 1 || k > n)
    throw new PeftError(
      "SHAPE_MISMATCH",
      `The first ${k} eigenvectors of kernels of shapes [${a.shape.join(", ")}] and [${b.shape.join(", ")}] cannot be compared. Compute both on the same examples, and take k from 1 to ${n}.`,
    );
  const [u, v] = [eigenPairs(a, k).vectors.data, eigenPairs(b, k).vectors.data];
  let sum = 0;
  for (let i = 0; i < k; i++)
    for (let j = 0; j < k; j++) {
      let product = 0;
      for (let at = 0; at < n; at++) product += u[i * n + at]! * v[j * n + at]!;
      sum += product ** 2;
    }
  return sum / k;
}

/** Rounding of products that were summed in two orders. */
const ROUNDING = 1e-9;

function eigenPairs(kernel: Kernel, count?: number): EigenPairs {
  const { rows, columns } = kernelMatrix(kernel);
  const { data } = kernel;
  const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const symmetric =
    rows === columns &&
    data.every((value, at) => {
      const mirror = data[(at % columns) * columns + Math.floor(at / columns)]!;
      return Math.abs(value - mirror) <= ROUNDING * largest;
    });
  if (symmetric) return largestEigenPairs(kernelMatrix(kernel), count ?? rows);
  throw new PeftError(
    "KERNEL_ASYMMETRIC",
    `Only a symmetric kernel has a spectrum; this one, [${kernel.shape.join(", ")}], is not. Compute it for the examples alone (without others), by "sgd" or "signgd".`,
  );
}
