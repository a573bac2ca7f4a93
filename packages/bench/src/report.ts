import { cpus, totalmem } from "node:os";
import { optional, percent, unique } from "./cells.ts";
import type { Published } from "./experiment.ts";
import { differenceTable, DIFFERENCES_MEANING, frozenPairs } from "./frozenPairs.ts";
import type { RunResult, RunSpec } from "./results.ts";
import { mean, meanOrNull, standardDeviation } from "./statistics.ts";

export interface ReportInput {
  readonly title: string;
  readonly runs: readonly RunSpec[];
  readonly results: readonly RunResult[];
  readonly references?: References | undefined;
  readonly published?: Published | undefined;
  /** Name of the picture of losses that lies beside the report. */
  readonly picture?: string | undefined;
}

/** Scores to compare with, per task: what a linear model on bags of words reaches. */
export type References = Readonly<Record<string, number>>;

/** One method over all tasks and seeds. */
interface MethodSummary {
  readonly method: string;
  /** Scores of the seeds, per task. */
  readonly scores: ReadonlyMap<string, readonly number[]>;
  readonly trainable: number | null;
  readonly total: number | null;
  readonly stepMilliseconds: number | null;
  readonly peakMemoryBytes: number | null;
  readonly learningShare: number | null;
  readonly pluginMilliseconds: number | null;
  readonly frozen: string;
  readonly failed: number;
}

/** Columns that stand in the table when a run has something to put there. */
interface ExtraColumn {
  readonly title: string;
  readonly field: "learningShare" | "pluginMilliseconds" | "frozen";
  readonly meaning: string;
  readonly cell: (summary: MethodSummary) => string;
}

const EXTRA_COLUMNS: readonly ExtraColumn[] = [
  {
    ...{ title: "frozen", field: "frozen", cell: ({ frozen }) => frozen },
    meaning: "Frozen: how frozen weights are held in memory.",
  },
  {
    ...{ title: "learning per step", field: "learningShare" },
    cell: ({ learningShare }) => optional(learningShare, (share) => `${percent(share)} %`),
    meaning:
      "Learning per step: share of the blocks' trainable parameters that learn in a step, where a plug-in chooses.",
  },
  {
    ...{ title: "plug-in ms/step", field: "pluginMilliseconds" },
    cell: ({ pluginMilliseconds }) => optional(pluginMilliseconds, (time) => time.toFixed(1)),
    meaning: "Plug-in ms/step: what it does before steps, mean over all steps, beside the step's own time.",
  },
];

const SCORES_MEANING =
  "Scores are percent of the task's metric on the test split, at the best epoch on the dev split; mean ± standard deviation over seeds. Trainable counts include the task head; with several tasks they are the first task's. Milliseconds per step: median of a run without its first steps, averaged over tasks. Peak memory: largest resident set of a run's own process. Bag of words: the better of two linear models (words; words and neighbours) trained on all 8,000 rows.";

/** The comparison as rows of cells, the first being the heading. */
export function summaryTable(results: readonly RunResult[], references: References = {}): string[][] {
  const tasks = unique(results.map((r) => r.task));
  const metrics = new Map(results.filter((r) => r.metric !== "").map((r) => [r.task, r.metric]));
  const extra = extraColumns(results);
  const heading = [
    "method",
    ...tasks.map((task) => (metrics.has(task) ? `${task} (${metrics.get(task) ?? ""})` : task)),
    "mean",
    "trainable",
    "share",
    "ms/step",
    "peak memory",
    ...extra.map(({ title }) => title),
  ];
  const rows = summarise(results).map((summary) => [
    ...summaryRow(summary, tasks),
    ...extra.map(({ cell }) => cell(summary)),
  ]);
  const known = tasks.map((task) => references[task]);
  return known.every((score) => score === undefined)
    ? [heading, ...rows]
    : [heading, ...rows, referenceRow(known, heading.length)];
}

function extraColumns(results: readonly RunResult[]): readonly ExtraColumn[] {
  return EXTRA_COLUMNS.filter(({ field }) => results.some((result) => result[field] !== undefined));
}

function referenceRow(scores: readonly (number | undefined)[], columns: number): string[] {
  const known = scores.filter((score) => score !== undefined);
  const cells = [
    "bag of words, all rows",
    ...scores.map((score) => (score === undefined ? "–" : percent(score))),
    known.length === scores.length ? percent(mean(known)) : "–",
  ];
  return [...cells, ...Array.from({ length: columns - cells.length }, () => "–")];
}

function summaryRow(summary: MethodSummary, tasks: readonly string[]): string[] {
  const perTask = tasks.map((task) => summary.scores.get(task) ?? []);
  const share =
    summary.trainable !== null && summary.total !== null
      ? `${((100 * summary.trainable) / summary.total).toFixed(2)} %`
      : "–";
  return [
    summary.failed > 0 ? `${summary.method} (${summary.failed} failed)` : summary.method,
    ...perTask.map(scoreCell),
    optional(meanOverTasks(summary, tasks), percent),
    optional(summary.trainable, (count) => count.toLocaleString("en-US")),
    share,
    optional(summary.stepMilliseconds, (time) => time.toFixed(1)),
    optional(summary.peakMemoryBytes, (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`),
  ];
}

/** Null where a task has no score. */
function meanOverTasks({ scores }: MethodSummary, tasks: readonly string[]): number | null {
  const means = tasks.flatMap((task) => (scores.has(task) ? mean(scores.get(task) ?? []) : []));
  return means.length === tasks.length ? mean(means) : null;
}

/** The rows of which others published a score: mean over the tasks here and there, in percent. */
export function publishedTable(results: readonly RunResult[], { scores }: Published): string[][] {
  const tasks = unique(results.map((r) => r.task));
  const rows = summarise(results).flatMap((summary) => {
    const score = scores[summary.method];
    return score === undefined
      ? []
      : [[summary.method, optional(meanOverTasks(summary, tasks), percent), score.toFixed(2)]];
  });
  return [["method", "mean here", "published"], ...rows];
}

/** Methods in the order of their first run. Step time is averaged over tasks, memory is the largest. */
function summarise(results: readonly RunResult[]): MethodSummary[] {
  return unique(results.map((r) => r.method)).map((method) => {
    const own = results.filter((r) => r.method === method);
    const scores = new Map<string, number[]>();
    for (const { task, score } of own) if (score !== null) scores.set(task, [...(scores.get(task) ?? []), score]);
    return {
      method,
      scores,
      trainable: own.find((r) => r.trainableParameters !== null)?.trainableParameters ?? null,
      total: own.find((r) => r.totalParameters !== null)?.totalParameters ?? null,
      stepMilliseconds: meanOrNull(own.map((r) => r.stepMilliseconds)),
      peakMemoryBytes: own.reduce<number | null>(
        (peak, r) => (r.peakMemoryBytes === null ? peak : Math.max(peak ?? 0, r.peakMemoryBytes)),
        null,
      ),
      learningShare: meanOrNull(own.map((r) => r.learningShare)),
      pluginMilliseconds: meanOrNull(own.map((r) => r.pluginMilliseconds)),
      frozen: own[0]?.frozen ?? "float32",
      failed: own.filter((r) => r.status === "error").length,
    };
  });
}

/** `71.3 ± 0.4`: mean and sample standard deviation over seeds, in percent. */
function scoreCell(scores: readonly number[]): string {
  if (scores.length === 0) return "–";
  const spread = standardDeviation(scores);
  return spread === null ? percent(mean(scores)) : `${percent(mean(scores))} ± ${(100 * spread).toFixed(1)}`;
}

/** The table for a terminal: columns aligned, numbers to the right. */
export function plainTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ");
  return rows.map(line).join("\n");
}

export function markdownReport({ title, runs, results, references, published, picture }: ReportInput): string {
  const details = results.map((r) => [
    r.method,
    r.task,
    String(r.seed),
    r.score === null ? "–" : `${percent(r.score)} ${r.metric}`,
    r.stepMilliseconds?.toFixed(1) ?? "–",
    r.peakMemoryBytes === null ? "–" : (r.peakMemoryBytes / 2 ** 20).toFixed(0),
    r.seconds.toFixed(0),
    r.status,
  ]);
  const failures = results.filter((r) => r.error !== undefined);
  return [
    `# ${title}`,
    settingsParagraph(runs),
    markdownTable(summaryTable(results, references)),
    [SCORES_MEANING, ...extraColumns(results).map(({ meaning }) => meaning)].join(" "),
    ...frozenSection(runs, results, picture),
    ...(published === undefined
      ? []
      : ["## Published", published.source, markdownTable(publishedTable(results, published))]),
    "## Runs",
    markdownTable([["method", "task", "seed", "score", "ms/step", "peak MiB", "seconds", "status"], ...details]),
    ...(failures.length === 0
      ? []
      : [
          "## Errors",
          ...failures.map(
            (r) => `**${r.method} · ${r.task} · seed ${r.seed}**\n\n\`\`\`text\n${r.error ?? ""}\n\`\`\``,
          ),
        ]),
    "",
  ].join("\n\n");
}

function frozenSection(runs: readonly RunSpec[], results: readonly RunResult[], picture?: string): string[] {
  const pairs = frozenPairs(runs, results);
  if (pairs.length === 0) return [];
  const curves = picture === undefined ? [] : [`![Training loss of each pair](${picture})`];
  return ["## Frozen weights", markdownTable(differenceTable(pairs)), DIFFERENCES_MEANING, ...curves];
}

function settingsParagraph(runs: readonly RunSpec[]): string {
  const first = runs[0];
  if (first === undefined) return "No runs.";
  const rates = unique(runs.map((r) => `${r.method} ${r.learningRate}`)).join(", ");
  const plugins = unique(
    runs.flatMap((r) => (r.plugins === undefined ? [] : `${r.method} ${JSON.stringify(r.plugins)}`)),
  );
  const frozen = unique(
    runs.flatMap((r) =>
      r.frozen === undefined ? [] : `${r.method} ${typeof r.frozen === "string" ? r.frozen : JSON.stringify(r.frozen)}`,
    ),
  );
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  return [
    `Base model: ${first.model ?? "@peftjs/base-mini"}. ${first.trainRows} training rows, ${first.epochs} epochs, batch ${first.batchSize}, at most ${first.maxLength} tokens, AdamW (decay ${first.weightDecay}), linear schedule with ${100 * first.warmupFraction} % warm-up; learning rates: ${rates}.`,
    ...(plugins.length === 0 ? [] : [`Training plug-ins: ${plugins.join(", ")}.`]),
    ...(frozen.length === 0 ? [] : [`Frozen weights, where not float32: ${frozen.join(", ")}.`]),
    `Engine: ${first.engine}. Machine: ${cpus().length} × ${processor}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.version}.`,
  ].join("\n");
}

export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [heading = [], ...body] = rows.map((row) =>
    row.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")),
  );
  const rule = heading.map((_, column) => (column === 0 ? "---" : "---:"));
  return [heading, rule, ...body].map((row) => `| ${row.join(" | ")} |`).join("\n");
}
