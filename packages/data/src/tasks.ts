import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { didYouMean, PeftError } from "@peftjs/core";
import { z } from "zod";
import type { DataRow, LabelScheme } from "./rows.ts";

/** Beside `src` and beside `dist`. */
const FOLDER = new URL("../tasks/", import.meta.url);

const SplitEntry = z.object({ rows: z.int(), sha256: z.string() });

const TaskEntry = z.object({
  kind: z.enum(["classification", "regression"]),
  labels: z.array(z.string()),
  metrics: z.array(z.string()),
  sources: z.array(z.string()),
  licence: z.string(),
  bagOfWords: z.object({
    unigrams: z.record(z.string(), z.number()),
    unigramsAndBigrams: z.record(z.string(), z.number()),
  }),
  splits: z.object({ train: SplitEntry, dev: SplitEntry, test: SplitEntry }),
});

const Manifest = z.object({ tasks: z.record(z.string(), TaskEntry) });

/** What is known of a task without reading its rows. */
export interface TaskInfo extends LabelScheme {
  readonly name: string;
  /** The first is the one to compare by. */
  readonly metrics: readonly string[];
  readonly sources: readonly string[];
  readonly licence: string;
  /** Test scores of a linear model that sees which words occur and not their order. */
  readonly bagOfWords: z.infer<typeof TaskEntry>["bagOfWords"];
}

export interface Task extends TaskInfo {
  readonly train: readonly DataRow[];
  readonly dev: readonly DataRow[];
  readonly test: readonly DataRow[];
}

/** The embedded tasks. */
export function listTasks(): TaskInfo[] {
  return Object.entries(readManifest().tasks).map(([name, entry]) => infoOf(name, entry));
}

/** Reads an embedded task and verifies its checksums. Throws `TASK_NOT_FOUND`, `TASK_CORRUPT`. */
export function loadTask(name: string): Task {
  const { tasks } = readManifest();
  const entry = Object.hasOwn(tasks, name) ? tasks[name] : undefined;
  if (entry === undefined) {
    const known = Object.keys(tasks);
    throw new PeftError(
      "TASK_NOT_FOUND",
      `There is no task "${name}".${didYouMean(name, known)} Tasks: ${known.join(", ")}.`,
    );
  }
  const split = (which: keyof typeof entry.splits): DataRow[] =>
    readSplit(`${name}/${which}.jsonl.gz`, entry.splits[which]);
  return { ...infoOf(name, entry), train: split("train"), dev: split("dev"), test: split("test") };
}

function infoOf(name: string, { splits: _, ...entry }: z.infer<typeof TaskEntry>): TaskInfo {
  return { name, ...entry };
}

function readManifest(): z.infer<typeof Manifest> {
  return Manifest.parse(JSON.parse(readFileSync(new URL("manifest.json", FOLDER), "utf8")));
}

function readSplit(path: string, entry: z.infer<typeof SplitEntry>): DataRow[] {
  let text: string;
  try {
    text = gunzipSync(readFileSync(new URL(path, FOLDER))).toString("utf8");
  } catch (cause) {
    throw corrupt(path, "cannot be read", cause);
  }
  const sum = createHash("sha256").update(text).digest("hex");
  if (sum !== entry.sha256)
    throw corrupt(path, `has checksum ${sum.slice(0, 12)}…, expected ${entry.sha256.slice(0, 12)}…`);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as DataRow);
}

function corrupt(path: string, problem: string, cause?: unknown): PeftError {
  return new PeftError("TASK_CORRUPT", `The embedded file "tasks/${path}" ${problem}. Install @peftjs/data again.`, {
    cause,
  });
}
