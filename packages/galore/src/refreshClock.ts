import type { GaloreConfig } from "./config.ts";

/** When a matrix gets its next basis. Steps count from 0. */
export interface RefreshClock {
  readonly next: number;
  /** T of this matrix. */
  readonly gap: number;
  /** Latest |cosines| between first basis vectors, oldest first; empty unless the gap adapts. */
  readonly cosines: readonly number[];
}

/** Before the first step, at which a basis is due. */
export function startClock({ updateProjGap }: Pick<GaloreConfig, "updateProjGap">): RefreshClock {
  return { next: 0, gap: updateProjGap, cosines: [] };
}

/**
 * After a refresh at `step`: the next one is due T steps later. With an adaptive gap, T ← int(factor·T) when `queue` cosines between
 * successive first vectors are there and their mean reaches the threshold (Q-GaLore, Zhang et al. 2024, section 3.2). |cos|, because
 * the sign of a singular vector is arbitrary. `cosine` is null at the first refresh.
 */
export function afterRefresh(
  { gap, cosines }: RefreshClock,
  {
    step,
    cosine,
    adaptiveGap,
  }: { readonly step: number; readonly cosine: number | null } & Pick<GaloreConfig, "adaptiveGap">,
): RefreshClock {
  if (adaptiveGap === null || cosine === null) return { next: step + gap, gap, cosines };
  const { queue, threshold, factor } = adaptiveGap;
  const latest = [...cosines, Math.abs(cosine)].slice(-queue);
  const mean = latest.reduce((sum, value) => sum + value, 0) / latest.length;
  const longer = latest.length === queue && mean >= threshold ? Math.trunc(factor * gap) : gap;
  return { next: step + longer, gap: longer, cosines: latest };
}
