import type { LayerSite } from "@peftjs/core";

/** A weight W [out, in] in host memory, as it is stored. */
export interface ScoredWeight extends Pick<LayerSite, "layout" | "inFeatures" | "outFeatures"> {
  readonly values: ArrayLike<number>;
}

/** Which score, and what it needs besides the weight: ‖X_:j‖ of each input [in], or ‖Y_:i‖ of each output [out]. */
export type ScoreKind = keyof typeof KINDS;

interface Kind {
  readonly norms: "input" | "output";
  readonly size: (weight: ScoredWeight) => number;
  /** Where |W_ij| counts. */
  readonly target: (i: number, j: number, inFeatures: number) => number;
}

const KINDS = {
  column: { norms: "input", size: ({ inFeatures }) => inFeatures, target: (_, j) => j },
  rowSource: { norms: "output", size: ({ outFeatures }) => outFeatures, target: (i) => i },
  rowWanda: { norms: "input", size: ({ outFeatures }) => outFeatures, target: (i) => i },
  entries: {
    norms: "input",
    size: ({ inFeatures, outFeatures }) => inFeatures * outFeatures,
    target: (i, j, inFeatures) => i * inFeatures + j,
  },
} as const satisfies Record<string, Kind>;

/** Whose norms a score needs: those of the layer's inputs or of its outputs. */
export function normsOf(kind: ScoreKind): "input" | "output" {
  return KINDS[kind].norms;
}

/**
 * Scores on calibration tokens X [tokens, in] and the layer's Y = X·Wᵀ + b [tokens, out]; ‖·‖ is the L2 norm over tokens:
 *
 * - `column` j: c_j = ‖X_:j‖ · Σ_i |W_ij|, the metric of Wanda (Sun et al. 2023, eq. 1) summed over outputs
 * - `rowSource` i: s_i = ‖Y_:i‖ · Σ_j |W_ij|, what the authors' code computes
 * - `rowWanda` i: s_i = Σ_j |W_ij| · ‖X_:j‖
 * - `entries` (i, j), at i·in + j: e_ij = |W_ij| · ‖X_:j‖
 */
export function scoresOf(kind: ScoreKind, weight: ScoredWeight, norms: ArrayLike<number>): Float64Array {
  const { norms: by, size, target }: Kind = KINDS[kind];
  const { values, layout, inFeatures, outFeatures } = weight;
  const scores = new Float64Array(size(weight));
  for (let i = 0; i < outFeatures; i++) {
    for (let j = 0; j < inFeatures; j++) {
      const value = values[layout === "out_in" ? i * inFeatures + j : j * outFeatures + i] as number;
      const at = target(i, j, inFeatures);
      scores[at] = (scores[at] as number) + Math.abs(value) * (norms[by === "input" ? j : i] as number);
    }
  }
  return scores;
}

/** Which end of the scores: the highest, the lowest, or ⌈k/2⌉ of the highest and ⌊k/2⌋ of the lowest. */
export type ScoreSelection = "max" | "min" | "mixed";

/** The k indices that a selection chooses, ascending; among equal scores the lower index. Scores are finite, k is at most their number. */
export function chooseByScore(scores: Float64Array, k: number, selection: ScoreSelection): Int32Array {
  const highest = { max: k, min: 0, mixed: Math.ceil(k / 2) }[selection];
  const first = lowest(
    scores.map((score) => -score),
    highest,
  );
  // What is taken from the upper end is out of reach for the lower one.
  const rest = scores.slice();
  for (const index of first) rest[index] = Infinity;
  return Int32Array.from([...first, ...lowest(rest, k - highest)]).sort();
}

/** The indices of the k lowest scores. */
function lowest(scores: Float64Array, k: number): readonly number[] {
  if (k === 0) return [];
  // Sorting numbers is many times as fast as sorting indices by them, and there may be millions.
  const threshold = scores.slice().sort()[k - 1] as number;
  const [below, equal]: [number[], number[]] = [[], []];
  scores.forEach((score, index) => {
    if (score < threshold) below.push(index);
    else if (score === threshold) equal.push(index);
  });
  return [...below, ...equal.slice(0, k - below.length)];
}
