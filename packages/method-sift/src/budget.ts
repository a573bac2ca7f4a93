import type { LayerSite } from "@peftjs/core";
import type { SiftConfig } from "./config.ts";

/** Numbers of trained entries of a layer. */
export interface Budget {
  readonly weight: number;
  /** 0: the bias stays as it is. */
  readonly bias: number;
}

/**
 * k(p) = min(⌊rate·n⌋ + 1, n) entries of a tensor p with n entries (the reference implementation of Song et al. 2024), or
 * min(r·(out + in), out·in) of a weight and none of its bias.
 */
export function budgetOf(
  { inFeatures, outFeatures, bias }: Pick<LayerSite, "inFeatures" | "outFeatures" | "bias">,
  { rate, loraRank, includeBias }: Pick<SiftConfig, "rate" | "loraRank" | "includeBias">,
): Budget {
  const size = inFeatures * outFeatures;
  if (loraRank !== null) return { weight: Math.min(loraRank * (inFeatures + outFeatures), size), bias: 0 };
  const share = (n: number): number => Math.min(Math.floor((rate as number) * n) + 1, n);
  return { weight: share(size), bias: includeBias && bias !== null ? share(outFeatures) : 0 };
}

/** Numbers of entries in the adapter's file: as a global selection has distributed them, or the budget. */
export function countsOf(site: LayerSite, config: SiftConfig): Budget {
  if (config.entries === null) return budgetOf(site, config);
  const [weight, bias] = config.entries[site.path] ?? [0, 0];
  return { weight, bias };
}
