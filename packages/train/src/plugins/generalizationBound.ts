/** What the bound depends on. */
export interface BoundOptions {
  /** P: trainable parameters, e.g. r·(in + out) summed over the adapted layers. */
  readonly parameters: number;
  /** q: bits per parameter. */
  readonly bits: number;
  /** N: rows of the training set. */
  readonly samples: number;
  /** R: the loss is R-sub-Gaussian; 0.5 for a loss between 0 and 1. */
  readonly subGaussian: number;
}

/**
 * Bound on the generalization error, √((2R²/N)·q·P) (Yao et al. 2024, arXiv 2410.02247, theorem 1): with rank r on queries and values
 * √((4R²/N)·q·r·Σ(in + out)), on queries, keys and values √((6R²/N)·q·r·Σ(in + out)).
 *
 * For information only. It counts parameters and does not see which matrices they are in: of equal rank, two of three matrices have
 * √(2/3) of the bound, and with equal counts the bounds are equal. It is vacuous for a 0/1 loss in all usual settings: RoBERTa-base with
 * r = 8 on SST-2 (q = 32, N = 67,349, R = 0.5) gives 8.37, and no error is above 1.
 */
export function generalizationBound({ parameters, bits, samples, subGaussian }: BoundOptions): number {
  return Math.sqrt(((2 * subGaussian ** 2) / samples) * bits * parameters);
}
