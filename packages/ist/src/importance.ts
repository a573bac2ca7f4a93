import { PeftError } from "@peftjs/core";
import type { ImportancePlan } from "./config.ts";

/** σ(x) = 1 / (1 + e⁻ˣ). */
export function logistic(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** R_k = r_k − mean(r), r_k = exp(−L_k): what candidate k is better than the mean. Σ R_k = 0. */
export function rewards(losses: readonly number[]): number[] {
  const [first = 0] = losses;
  // Counted from the first, so that equal losses give zeros exactly.
  const raw = losses.map((loss) => Math.exp(-loss) - Math.exp(-first));
  const mean = raw.reduce((sum, reward) => sum + reward, 0) / raw.length;
  return raw.map((reward) => reward - mean);
}

export interface Comparison {
  /** S_k: the blocks that candidate k suppressed. */
  readonly sets: readonly (readonly number[])[];
  /** L_k. */
  readonly losses: readonly number[];
}

/**
 * Iᵢ ← Iᵢ − η·R_k·pᵢ·(1 − pᵢ) for every candidate k and every block i of S_k, p = σ(I) before any change: where a model did better
 * without them, the blocks matter less. Larger is more important; the original code keeps −I. Without `derivativeFactor` the
 * factor p·(1 − p) is left out.
 *
 * As Σ R_k = 0, this equals adding to the blocks that a candidate kept, as Yao et al. 2024 describe the update.
 * @returns null when a loss or a reward is no finite number, which says nothing about the blocks.
 * @throws PeftError `LOSSES_MISSING` unless there is one loss per set.
 */
export function updatedImportance(
  importance: readonly number[],
  { sets, losses }: Comparison,
  { learningRate, derivativeFactor }: Pick<ImportancePlan, "learningRate" | "derivativeFactor">,
): number[] | null {
  if (losses.length !== sets.length) {
    throw new PeftError(
      "LOSSES_MISSING",
      `There are ${losses.length} losses for ${sets.length} candidates. Evaluate each of them once, in their order.`,
    );
  }
  const gains = rewards(losses);
  if (![...losses, ...gains].every(Number.isFinite)) return null;
  const suppressedGain = importance.map(() => 0);
  for (const [k, set] of sets.entries()) {
    for (const i of set) suppressedGain[i] = (suppressedGain[i] as number) + (gains[k] as number);
  }
  return importance.map((score, i) => {
    const p = logistic(score);
    const factor = derivativeFactor ? p * (1 - p) : 1;
    return score - learningRate * (suppressedGain[i] as number) * factor;
  });
}
