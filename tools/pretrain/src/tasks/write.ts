import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Baseline } from "./bagOfWords.ts";
import type { BuiltTask, Split, TaskRow } from "./rows.ts";
import { SPLITS } from "./rows.ts";

/** The entry of a task in `manifest.json`. */
export interface ManifestEntry {
  readonly kind: BuiltTask["kind"];
  readonly labels: readonly string[];
  readonly metrics: readonly string[];
  readonly sources: readonly string[];
  readonly licence: string;
  readonly bagOfWords: Baseline;
  /** The checksum is that of the uncompressed lines: it does not depend on the version of zlib. */
  readonly splits: Readonly<Record<Split, { readonly rows: number; readonly sha256: string }>>;
}

export function linesOf(rows: readonly TaskRow[]): string {
  return `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`;
}

export function checksum(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Writes the splits and the card of a task. */
export function writeTask(folder: string, task: BuiltTask, baseline: Baseline): ManifestEntry {
  mkdirSync(join(folder, task.name), { recursive: true });
  const write = (split: Split): { rows: number; sha256: string } => {
    const lines = linesOf(task.splits[split]);
    writeFileSync(join(folder, task.name, `${split}.jsonl.gz`), deterministicGzip(lines));
    return { rows: task.splits[split].length, sha256: checksum(lines) };
  };
  const entry: ManifestEntry = {
    kind: task.kind,
    labels: task.labels,
    metrics: task.metrics,
    sources: task.sources,
    licence: task.licence,
    bagOfWords: baseline,
    splits: { train: write("train"), dev: write("dev"), test: write("test") },
  };
  writeFileSync(join(folder, task.name, "card.md"), card(task, baseline));
  return entry;
}

/** The header's time is zero already; its operating system is set to "unknown". */
function deterministicGzip(text: string): Buffer {
  const bytes = gzipSync(text, { level: 9 });
  bytes[9] = 255;
  return bytes;
}

function card(task: BuiltTask, baseline: Baseline): string {
  const scores = (row: Readonly<Record<string, number>>): string =>
    task.metrics.map((name) => percent(row[name])).join(" | ");
  const example = task.splits.dev.slice(0, 3).map((row) => JSON.stringify(row));
  return `# ${task.name}

${task.about}

| | |
| --- | --- |
| kind | ${task.kind} |
| metrics | ${task.metrics.join(", ")} |
| rows | ${SPLITS.map((split) => `${task.splits[split].length} ${split}`).join(", ")} |
| split | ${task.grouping} |
| sources | ${task.sources.join("; ")} |
| licence | ${task.licence} |

\`\`\`jsonl
${example.join("\n")}
\`\`\`

## What a bag of words reaches

A linear model on the words that occur (both sides of a pair apart, and the words they share), fitted to all training rows, its
penalty chosen on dev; test scores in percent.

| features | ${task.metrics.join(" | ")} |
| --- |${task.metrics.map(() => " --- |").join("")}
| words | ${scores(baseline.unigrams)} |
| words and pairs of neighbours | ${scores(baseline.unigramsAndBigrams)} |

## ${task.kind === "regression" ? "Values" : "Labels"} (train / dev / test)

${distribution(task)}
`;
}

function percent(score: number | undefined): string {
  return (100 * (score ?? NaN)).toFixed(1);
}

function distribution(task: BuiltTask): string {
  const group = (label: string | number): string =>
    typeof label === "number" ? `${Math.min(4, Math.floor(label))} to ${Math.min(4, Math.floor(label)) + 1}` : label;
  const names = [...new Set(task.splits.train.map((row) => group(row.label)))].sort();
  const lines = names.map((name) => {
    const counts = SPLITS.map((split) => task.splits[split].filter((row) => group(row.label) === name).length);
    return `| ${name} | ${counts.join(" | ")} |`;
  });
  return ["| | train | dev | test |", "| --- | ---: | ---: | ---: |", ...lines].join("\n");
}
