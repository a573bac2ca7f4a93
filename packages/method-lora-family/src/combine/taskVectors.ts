import type { Generator } from "@peftjs/core";

/** The entries of one tensor, in any order that all adapters share. */
export type Values = Float64Array | Float32Array;

/** The ⌊density·n⌋ entries of largest magnitude, the others zero (TIES, Yadav et al. 2023, section 3: "trim"). Of equal ones the first stay. */
export function prune(values: Values, density: number): Float64Array {
  const kept = Array.from(values.keys())
    .sort((i, j) => Math.abs(values[j] as number) - Math.abs(values[i] as number))
    .slice(0, Math.floor(density * values.length));
  const result = new Float64Array(values.length);
  for (const i of kept) result[i] = values[i] as number;
  return result;
}

/**
 * Every entry stays with probability `density` and is divided by it, so that the expectation is the input (DARE, Yu et al. 2024, eq. 2).
 * One uniform number per entry, in order; an entry stays when its number is below the density.
 */
export function dare(values: Values, { density, generator }: { density: number; generator: Generator }): Float64Array {
  const draws = generator.uniform(values.length);
  return Float64Array.from(values, (value, i) => ((draws[i] as number) < density ? value / density : 0));
}

/** Σ wᵢ·tᵢ (Ilharco et al. 2023). */
export function weightedSum(tensors: readonly Values[], weights: readonly number[]): Float64Array {
  return perEntry(tensors, (entries) => entries.reduce((sum, value, k) => sum + value * (weights[k] as number), 0));
}

/**
 * Elects a sign per entry, that of Σ tᵢ ("total") or of Σ sgn tᵢ ("frequency"), + when it is zero; the result is the sum of wᵢ·tᵢ over
 * the tensors that have this sign, divided by how many they are (TIES, sections 3: "elect" and "disjoint merge"). Weights do not vote.
 */
export function electedMean(
  tensors: readonly Values[],
  { weights, method }: { readonly weights: readonly number[]; readonly method: "total" | "frequency" },
): Float64Array {
  return perEntry(tensors, (entries) => {
    const votes = method === "total" ? entries : entries.map(Math.sign);
    const sign = votes.reduce((sum, vote) => sum + vote, 0) >= 0 ? 1 : -1;
    let sum = 0;
    let agreeing = 0;
    entries.forEach((value, k) => {
      if (Math.sign(value) !== sign) return;
      sum += value * (weights[k] as number);
      agreeing++;
    });
    return sum / Math.max(agreeing, 1);
  });
}

function perEntry(tensors: readonly Values[], merge: (entries: readonly number[]) => number): Float64Array {
  return Float64Array.from(tensors[0] ?? [], (_, i) => merge(tensors.map((tensor) => tensor[i] as number)));
}
