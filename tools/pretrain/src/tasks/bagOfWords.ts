import { accuracy, macroF1, matthews, pearson, spearman } from "@peftjs/train";
import type { BuiltTask, Split, TaskRow } from "./rows.ts";
import { fitLinear, predictLinear } from "./linearModel.ts";
import type { SparseRows } from "./linearModel.ts";

/** Scores of a linear model that sees which words occur and not their order: what a method must beat to show that it reads. */
export interface Baseline {
  readonly unigrams: Readonly<Record<string, number>>;
  readonly unigramsAndBigrams: Readonly<Record<string, number>>;
}

const METRICS: Readonly<Record<string, (labels: readonly number[], predictions: readonly number[]) => number>> = {
  accuracy,
  macroF1,
  matthews,
  pearson,
  spearman,
};

/** Penalties tried; dev chooses. */
const PENALTIES = [1e-5, 3e-5, 1e-4, 3e-4];

export function bagOfWords(task: BuiltTask): Baseline {
  return { unigrams: score(task, false), unigramsAndBigrams: score(task, true) };
}

function score(task: BuiltTask, bigrams: boolean): Record<string, number> {
  const index = new Map<string, number>();
  for (const row of task.splits.train) {
    for (const feature of featuresOf(row, bigrams)) if (!index.has(feature)) index.set(feature, index.size);
  }
  const outputs = task.kind === "regression" ? 1 : task.labels.length;
  const rowsOf = (split: Split): SparseRows =>
    task.splits[split].map((row) => Int32Array.from(featuresOf(row, bigrams).flatMap((name) => index.get(name) ?? [])));
  const targetsOf = (split: Split): number[] =>
    task.splits[split].map(({ label }) => (typeof label === "number" ? label : task.labels.indexOf(label)));

  const [main] = task.metrics;
  const metric = METRICS[main ?? ""];
  if (metric === undefined) throw new Error(`${task.name} has no known metric`);
  const fits = PENALTIES.map((penalty) => {
    const model = fitLinear({
      rows: rowsOf("train"),
      targets: targetsOf("train"),
      features: index.size,
      outputs,
      penalty,
    });
    return { model, dev: metric(targetsOf("dev"), predictLinear(model, rowsOf("dev"))) };
  });
  const best = fits.reduce((a, b) => (b.dev > a.dev ? b : a));
  const predictions = predictLinear(best.model, rowsOf("test"));
  return Object.fromEntries(
    task.metrics.map((name) => [
      name,
      Math.round(1e4 * (METRICS[name]?.(targetsOf("test"), predictions) ?? NaN)) / 1e4,
    ]),
  );
}

/** Words (and neighbours) that occur. A pair has those of either side, and the words that both sides share. */
function featuresOf(row: TaskRow, bigrams: boolean): string[] {
  const first = gramsOf(row.text, bigrams);
  if (row.textPair === undefined) return [...new Set(first)];
  const second = gramsOf(row.textPair, bigrams);
  const common = new Set(second);
  return [
    ...new Set([
      ...first.map((gram) => `1 ${gram}`),
      ...second.map((gram) => `2 ${gram}`),
      ...first.filter((gram) => common.has(gram)).map((gram) => `both ${gram}`),
    ]),
  ];
}

function gramsOf(text: string, bigrams: boolean): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? [];
  return bigrams ? [...words, ...words.slice(1).map((word, i) => `${words[i] ?? ""} ${word}`)] : words;
}
