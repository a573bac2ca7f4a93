import type { HostTensor, TensorSpec } from "@peftjs/core";
import type { GaloreConfig } from "./config.ts";

/** When a matrix gets its next basis. Steps are updates of that matrix, counted from 0. */
export interface RefreshClock {
  /** Updates before the inner rule's state was last empty. */
  readonly start: number;
  readonly next: number;
  /** T of this matrix. */
  readonly gap: number;
  /** Latest |cosines| between first basis vectors, oldest first; empty unless the gap adapts. */
  readonly cosines: readonly number[];
}

/** Before the first step, at which a basis is due. */
export function startClock({ updateProjGap }: Pick<GaloreConfig, "updateProjGap">): RefreshClock {
  return { start: 0, next: 0, gap: updateProjGap, cosines: [] };
}

type ClockConfig = Pick<GaloreConfig, "updateProjGap" | "adaptiveGap">;

/** The clock as a tensor: start, next, gap, number of cosines, cosines. Whole numbers are exact below 2²⁴. */
export function clockSpec({ adaptiveGap }: ClockConfig): TensorSpec {
  return { shape: [4 + (adaptiveGap?.queue ?? 0)], dtype: "float32" };
}

/** A gap of 0 is that of a state that nothing was written to yet. */
export function readClock({ data }: HostTensor, config: ClockConfig): RefreshClock {
  const [start = 0, next = 0, gap = 0, count = 0, ...cosines] = data;
  return gap === 0 ? startClock(config) : { start, next, gap, cosines: cosines.slice(0, count) };
}

export function writeClock({ data }: HostTensor, { start, next, gap, cosines }: RefreshClock): void {
  data.set([start, next, gap, cosines.length, ...cosines]);
}

/**
 * After a refresh at `step`: the next one is due T steps later. With an adaptive gap, T ← int(factor·T) when `queue` cosines between
 * successive first vectors are there and their mean reaches the threshold (Q-GaLore, Zhang et al. 2024, section 3.2). |cos|, because
 * the sign of a singular vector is arbitrary. `cosine` is null at the first refresh.
 */
export function afterRefresh(
  { start, gap, cosines }: RefreshClock,
  {
    step,
    cosine,
    adaptiveGap,
  }: { readonly step: number; readonly cosine: number | null } & Pick<GaloreConfig, "adaptiveGap">,
): RefreshClock {
  if (adaptiveGap === null || cosine === null) return { start, next: step + gap, gap, cosines };
  const { queue, threshold, factor } = adaptiveGap;
  const latest = [...cosines, Math.abs(cosine)].slice(-queue);
  const mean = latest.reduce((sum, value) => sum + value, 0) / latest.length;
  const longer = latest.length === queue && mean >= threshold ? Math.trunc(factor * gap) : gap;
  return { start, next: step + longer, gap: longer, cosines: latest };
}
