import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { typeOf } from "./frozen.ts";
import { workerArguments } from "./paths.ts";
import { RunResult } from "./results.ts";
import type { RunSpec } from "./results.ts";

export interface SpawnOptions {
  /** A run that takes longer is ended and reported as an error. */
  readonly timeoutMilliseconds?: number;
  /** Arguments of `node` that start the worker. Default: the worker of this package. */
  readonly worker?: readonly string[];
  readonly signal?: AbortSignal;
}

const KEPT_CHARACTERS = 4000;

/**
 * One run in a process of its own, so that its peak memory is its own and a crash ends nothing else.
 * Never rejects: whatever goes wrong becomes a result with `status: "error"`.
 */
export async function spawnRun(spec: RunSpec, options: SpawnOptions = {}): Promise<RunResult> {
  const started = performance.now();
  const folder = mkdtempSync(join(tmpdir(), "peftjs-run-"));
  const specFile = join(folder, "spec.json");
  const resultFile = join(folder, "result.json");
  writeFileSync(specFile, JSON.stringify(spec));
  try {
    const failure = await runProcess([...(options.worker ?? workerArguments()), specFile, resultFile], options);
    const parsed = failure === null ? RunResult.safeParse(readJson(resultFile)) : null;
    if (parsed?.success === true) return parsed.data;
    return failedRun(spec, failure ?? "The run ended without a result.", started);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** null when the process ended well, else what it said last. */
function runProcess(args: readonly string[], options: SpawnOptions): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "ignore", "pipe"],
      ...(options.timeoutMilliseconds === undefined
        ? {}
        : { timeout: options.timeoutMilliseconds, killSignal: "SIGKILL" as const }),
      ...(options.signal === undefined ? {} : { signal: options.signal, killSignal: "SIGKILL" as const }),
    });
    let said = "";
    child.stderr.setEncoding("utf8");
    child.stderr.on("data", (chunk: string) => {
      said = (said + chunk).slice(-KEPT_CHARACTERS);
    });
    child.on("error", (error) => {
      resolve(error.message);
    });
    child.on("close", (code, signal) => {
      if (code === 0) resolve(null);
      else
        resolve(
          lastWords(said) ??
            (signal === null ? `The process ended with code ${String(code)}.` : `The process was ended by ${signal}.`),
        );
    });
  });
}

/** The `error [CODE] …` line if there is one, else the last lines. */
function lastWords(said: string): string | null {
  const start = said.lastIndexOf("error [");
  const text = (start === -1 ? said.trim().split("\n").slice(-5).join("\n") : said.slice(start)).trim();
  return text === "" ? null : text;
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}

/** A row for a run without figures. */
function failedRun(spec: RunSpec, error: string, started: number): RunResult {
  return {
    method: spec.method,
    task: spec.task,
    seed: spec.seed,
    ...(spec.frozen === undefined ? {} : { frozen: typeOf(spec.frozen) }),
    metric: "",
    score: null,
    trainableParameters: null,
    totalParameters: null,
    stepMilliseconds: null,
    peakMemoryBytes: null,
    seconds: (performance.now() - started) / 1000,
    status: "error",
    error,
  };
}
