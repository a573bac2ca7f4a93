import { optional, points, signed, unique } from "./cells.ts";
import { runKey } from "./results.ts";
import type { RunResult, RunSpec } from "./results.ts";
import { mean, meanOrNull, standardDeviation } from "./statistics.ts";

/** Two runs that differ in nothing but how frozen weights are held. */
export interface FrozenPair {
  /** In float32. */
  readonly exact: RunResult;
  /** As its row says. */
  readonly held: RunResult;
}

/** The pairs among the runs that have ended well, in their order. */
export function frozenPairs(runs: readonly RunSpec[], results: readonly RunResult[]): FrozenPair[] {
  const ended = new Map(results.filter(({ status }) => status === "ok").map((result) => [runKey(result), result]));
  const exact = new Map(
    runs.flatMap((run) => (run.frozen === undefined ? [[otherwise(run), ended.get(runKey(run))] as const] : [])),
  );
  return runs.flatMap((run) => {
    if (run.frozen === undefined) return [];
    const [one, other] = [exact.get(otherwise(run)), ended.get(runKey(run))];
    return one === undefined || other === undefined ? [] : [{ exact: one, held: other }];
  });
}

/** All that determines a run but how frozen weights are held; rows are called after that, so their names do not count. */
function otherwise(run: RunSpec): string {
  return JSON.stringify({ ...run, method: run.variantOf ?? run.method, variantOf: undefined, frozen: undefined });
}

export const DIFFERENCES_MEANING =
  "Each run against the run that differs from it in nothing but that its frozen weights are float32. Scores: difference in points, mean ± standard deviation over the pairs. Last loss: difference of the training loss, mean of the last sixtieth of the steps. Milliseconds per step and peak memory: as a multiple of float32's, mean over the pairs.";

/** What it changes to hold frozen weights otherwise than in float32, by row, and over all rows where there are several. */
export function differenceTable(pairs: readonly FrozenPair[]): string[][] {
  const tasks = unique(pairs.map(({ held }) => held.task));
  const rows = unique(pairs.map(({ held }) => held.method));
  const heading = ["row", "against", ...tasks, "mean", "last loss", "ms/step", "peak memory"];
  const body = rows.map((row) => {
    const own = pairs.filter(({ held }) => held.method === row);
    return [row, own[0]?.exact.method ?? "", ...differences(own, tasks)];
  });
  return [heading, ...body, ...(rows.length > 1 ? [["all", "", ...differences(pairs, tasks)]] : [])];
}

function differences(pairs: readonly FrozenPair[], tasks: readonly string[]): string[] {
  const perTask = tasks.map((task) =>
    pairs.flatMap(({ exact, held }) =>
      held.task === task && exact.score !== null && held.score !== null ? held.score - exact.score : [],
    ),
  );
  const means = perTask.flatMap((scores) => (scores.length === 0 ? [] : mean(scores)));
  const over = (measure: (pair: FrozenPair) => number | null): number | null => meanOrNull(pairs.map(measure));
  const times = (ratio: number): string => `${ratio.toFixed(2)} ×`;
  return [
    ...perTask.map(differenceCell),
    means.length === tasks.length ? points(mean(means)) : "–",
    optional(over(lastLossDifference), (difference) => signed(difference, 3)),
    optional(
      over(({ exact, held }) => ratio(held.stepMilliseconds, exact.stepMilliseconds)),
      times,
    ),
    optional(
      over(({ exact, held }) => ratio(held.peakMemoryBytes, exact.peakMemoryBytes)),
      times,
    ),
  ];
}

function differenceCell(scores: readonly number[]): string {
  if (scores.length === 0) return "–";
  const spread = standardDeviation(scores);
  return spread === null ? points(mean(scores)) : `${points(mean(scores))} ± ${(100 * spread).toFixed(1)}`;
}

function lastLossDifference({ exact, held }: FrozenPair): number | null {
  const [one, other] = [exact.losses?.at(-1), held.losses?.at(-1)];
  return one === undefined || other === undefined ? null : other - one;
}

function ratio(value: number | null, base: number | null): number | null {
  return value === null || base === null ? null : value / base;
}
