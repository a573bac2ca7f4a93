import type { AfterStepContext, HostSite, HostTensor } from "@peftjs/core";
import { budgetAt, scheduleOf } from "./budget.ts";
import type { AdaloraConfig } from "./config.ts";
import { stateNames } from "./state.ts";

type Site = HostSite<AdaloraConfig>;

/**
 * What follows a step t of the run. Until T − tfinal every `deltaT`-th step lets the budget b(t) of triplets with the highest scores,
 * over all layers, stay, and sets E of the others to zero: these go on learning and may come back. At T − tfinal the choice is
 * made for good, by the importance of the step before, and from then on E of what is out is set to zero after every step.
 * @throws PeftError `CONFIG_INVALID` for a schedule that fits no run.
 */
export function allocate({ step, totalSteps, config, sites }: AfterStepContext<AdaloraConfig>): void {
  // Loaded with some triplets gone: its ranks are settled.
  if (config.rankPattern !== null) return;
  const schedule = scheduleOf(config, totalSteps);
  const last = schedule.totalSteps - schedule.tfinal;
  for (const { state } of sites) {
    state["totalSteps"]!.data[0] = schedule.totalSteps;
    state["counting"]!.data[0] = step < last - 1 ? 1 : 0;
  }
  const counts = { initial: config.initRank * sites.length, target: config.targetRank * sites.length };
  const { budget, prunes } = budgetAt(step, { ...schedule, ...counts });
  if (!prunes) return;
  if (step <= last) chooseTriplets(sites, counts.initial - budget);
  for (const { params, state } of sites) {
    const e = params["e"] as HostTensor;
    for (let i = 0; i < e.data.length; i++) if (state["mask"]!.data[i] === 0) e.data[i] = 0;
  }
}

/** Masks the `out` lowest scores of all layers (Zhang et al. 2023, eq. 6), and with them whatever is equal to the highest of these. */
function chooseTriplets(sites: readonly Site[], out: number): void {
  const scores = sites.map(tripletScores);
  const lowest = Float64Array.from(scores.flatMap((list) => [...list])).sort();
  const threshold = lowest[out - 1] ?? -Infinity;
  for (const [i, { state }] of sites.entries()) {
    const mask = state["mask"]!.data;
    scores[i]!.forEach((score, triplet) => (mask[triplet] = score <= threshold ? 0 : 1));
  }
}

/**
 * S_i = s(E_i) + mean_j s(A_ij) + mean_j s(B_ji) with s = Ī·Ū (Zhang et al. 2023, eqs. 7 and 11), for the R triplets of a layer.
 */
export function tripletScores(site: Pick<Site, "params" | "state">): Float64Array {
  const { a, b, e } = site.params as Readonly<Record<"a" | "b" | "e", HostTensor>>;
  const rank = e.data.length;
  const inFeatures = a.shape[1] as number;
  const outFeatures = b.shape[0] as number;
  const [ofA, ofB, ofE] = [scoresOf(site, "a"), scoresOf(site, "b"), scoresOf(site, "e")];
  return Float64Array.from({ length: rank }, (_, i) => {
    let [sumA, sumB] = [0, 0];
    for (let j = 0; j < inFeatures; j++) sumA += ofA(i * inFeatures + j);
    for (let j = 0; j < outFeatures; j++) sumB += ofB(j * rank + i);
    return ofE(i) + sumA / inFeatures + sumB / outFeatures;
  });
}

function scoresOf({ state }: Pick<Site, "state">, parameter: "a" | "b" | "e"): (index: number) => number {
  const names = stateNames(parameter);
  const sensitivity = state[names.sensitivity]!.data;
  const uncertainty = state[names.uncertainty]!.data;
  return (index) => sensitivity[index]! * uncertainty[index]!;
}
