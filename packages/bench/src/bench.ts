import { isDeepStrictEqual } from "node:util";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PeftError } from "@peftjs/core";
import type { Published } from "./experiment.ts";
import { frozenPairs } from "./frozenPairs.ts";
import { lossPicture } from "./lossPicture.ts";
import { markdownReport } from "./report.ts";
import type { References } from "./report.ts";
import { runKey, StoredRun } from "./results.ts";
import type { RunResult, RunSpec } from "./results.ts";
import { spawnRun } from "./spawn.ts";
import type { SpawnOptions } from "./spawn.ts";

export interface BenchOptions extends SpawnOptions {
  /** Folder of runs/*.json, results.json, report.md and pictures. */
  readonly out: string;
  readonly runs: readonly RunSpec[];
  /** Runs everything again, even what has been finished. */
  readonly fresh?: boolean;
  /** Written at the head of the report. */
  readonly title: string;
  /** Shown below the methods. */
  readonly references?: References;
  /** Shown in a table of their own. */
  readonly published?: Published | undefined;
  readonly onRun?: (progress: BenchProgress) => void;
}

export interface BenchProgress {
  /** From 1. */
  readonly number: number;
  readonly of: number;
  readonly spec: RunSpec;
  /** Absent when the run starts. */
  readonly result?: RunResult;
  /** Taken from an earlier call with the same folder. */
  readonly kept?: boolean;
}

/** Of losses of runs that differ in how frozen weights are held alone, beside the report. */
const PICTURE = "losses.svg";

/**
 * Runs the comparison, one process after the other. After every run its file, results.json and report.md are written, so that
 * nothing is lost when the comparison is stopped; finished runs with an equal spec are kept on the next call.
 */
export async function runBench(options: BenchOptions): Promise<readonly RunResult[]> {
  const { runs, out } = options;
  makeFolder(join(out, "runs"));
  const { title, references, published } = options;
  const results: RunResult[] = [];
  for (const [index, spec] of runs.entries()) {
    const progress = { number: index + 1, of: runs.length, spec };
    const file = join(out, "runs", `${runKey(spec)}.json`);
    const kept = options.fresh === true ? null : readStored(file, spec);
    if (kept === null) options.onRun?.(progress);
    const result = kept ?? (await spawnRun(spec, options));
    if (options.signal?.aborted === true) break;
    if (kept === null) writeWhole(file, json({ spec, result }));
    results.push(result);
    options.onRun?.({ ...progress, result, kept: kept !== null });
    writeWhole(join(out, "results.json"), json(results));
    const picture = lossPicture(frozenPairs(runs, results));
    if (picture !== null) writeWhole(join(out, PICTURE), picture);
    const shown = picture === null ? undefined : PICTURE;
    writeWhole(join(out, "report.md"), markdownReport({ title, runs, results, references, published, picture: shown }));
  }
  return results;
}

function readStored(file: string, spec: RunSpec): RunResult | null {
  try {
    const stored = StoredRun.parse(JSON.parse(readFileSync(file, "utf8")));
    return stored.result.status === "ok" && isDeepStrictEqual(stored.spec, spec) ? stored.result : null;
  } catch {
    return null;
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new PeftError("OUT_NOT_WRITABLE", `Cannot create the folder "${folder}". Give another with --out.`, {
      cause,
    });
  }
}

/** A reader sees the old file or the new one, never half of one. */
function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.partial`, text);
  renameSync(`${file}.partial`, file);
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
