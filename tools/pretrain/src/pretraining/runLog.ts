import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ARTIFACTS_FOLDER } from "../folders.ts";

export interface Evaluated {
  readonly step: number;
  readonly loss: number;
  readonly maskedAccuracy: number;
}

export interface RunSummary {
  readonly evaluations: readonly Evaluated[];
  /** Steps in the log. */
  readonly steps: number;
  readonly hours: number;
}

interface LogLine {
  readonly type: string;
  readonly step: number;
  readonly milliseconds?: number;
  readonly metrics?: { readonly loss: number; readonly maskedAccuracy: number };
}

/** What a run's log says. */
export function summarizeRun(run: string): RunSummary {
  const lines = readFileSync(join(ARTIFACTS_FOLDER, run, "log.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as LogLine);
  const steps = lines.filter(({ type }) => type === "step");
  return {
    evaluations: lines.flatMap(({ type, step, metrics }) =>
      type === "evaluate" && metrics !== undefined ? [{ step, ...metrics }] : [],
    ),
    steps: steps.at(-1)?.step ?? 0,
    hours: steps.reduce((sum, { milliseconds }) => sum + (milliseconds ?? 0), 0) / 3.6e6,
  };
}
