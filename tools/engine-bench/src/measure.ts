import { setTimeout } from "node:timers/promises";
import type { Case } from "./cases.ts";
import { productFlops } from "./cases.ts";
import type { FrozenName } from "./frozen.ts";
import { IN_PYTHON } from "./methods.ts";
import { measurePeak } from "./peak.ts";
import type { Side, StepReport, WorkerArguments } from "./side.ts";
import { openOurs, openPython } from "./sides.ts";

const WARM_UP = 2;
/** Between two programs' steps: threads that still spin for work would slow the next one down. */
const PAUSE_MILLISECONDS = 50;
const PYTHON_TYPES = ["float32", "bfloat16"] as const;

export interface Result {
  readonly case: string;
  readonly medianStepMilliseconds: number;
  /** What a step takes where steps differ. */
  readonly meanStepMilliseconds: number;
  /** Of the products that must be done: see `productFlops`. */
  readonly gflops: number;
  /** `gflops` over that of one large product, measured just before. */
  readonly peakShare: number;
  readonly peakMemoryBytes: number;
  readonly traceMilliseconds: number;
  readonly openMilliseconds: number;
  /** Python's median step over ours, when PEFTJS_PYTHON names an interpreter. */
  readonly speedRatio?: number;
  /** Our peak resident memory over Python's, whole processes. */
  readonly memoryRatio?: number;
  readonly pythonMedianStepMilliseconds?: number;
  readonly pythonPeakMemoryBytes?: number;
  /** The same four with Python under bfloat16 autocast. */
  readonly bfloat16SpeedRatio?: number;
  readonly bfloat16MemoryRatio?: number;
  readonly bfloat16MedianStepMilliseconds?: number;
  readonly bfloat16PeakMemoryBytes?: number;
  /** Median step, mean step and peak memory over those of the first case that ran in turn with this one. */
  readonly stepToFirst?: number;
  readonly meanStepToFirst?: number;
  readonly memoryToFirst?: number;
  readonly recompute?: "blocks";
  readonly frozen?: FrozenName;
}

export interface Measured {
  readonly result: Result;
  /** Of everything that ran. */
  readonly versions: Readonly<Record<string, string>>;
  /** GFLOP/s of one large product. */
  readonly peak: number;
}

export interface MeasureOptions extends Omit<WorkerArguments, "task"> {
  readonly tasks: readonly Case[];
  readonly steps: number;
  /** Runs the step of the first case. */
  readonly python: string | undefined;
}

/**
 * Runs our steps of the cases and, when there is a Python, its step in float32 and in bfloat16, all in turn. Of several cases, the ratios
 * among each other are to the first one.
 */
export async function measure({ tasks, steps, python, ...settings }: MeasureOptions): Promise<Measured[]> {
  const peak = await measurePeak(settings.threads);
  const task = tasks[0] as Case;
  const theirSides =
    python === undefined || !IN_PYTHON.includes(task.method)
      ? []
      : PYTHON_TYPES.map((dtype) => () => openPython(python, { task, ...settings }, dtype));
  const ourSides = tasks.map((one) => () => openOurs({ task: one, ...settings }));
  const { reports, versions } = await inTurn([...ourSides, ...theirSides], steps);
  const theirs = reports.slice(tasks.length);
  const results = tasks.map((one, i) =>
    summarize({ task: one, ...settings }, [reports[i] as StepReport[], ...theirs], peak),
  );
  if (tasks.length === 1) return results.map((result) => ({ result, versions, peak }));
  const first = results[0] as Result;
  return results.map((result) => ({
    ...{ versions, peak },
    result: {
      ...result,
      stepToFirst: result.medianStepMilliseconds / first.medianStepMilliseconds,
      meanStepToFirst: result.meanStepMilliseconds / first.meanStepMilliseconds,
      memoryToFirst: result.peakMemoryBytes / first.peakMemoryBytes,
    },
  }));
}

/** Opens the programs, and runs their steps in turn: what slows the machine down for a while slows all of them down. */
async function inTurn(
  open: readonly (() => Side)[],
  steps: number,
): Promise<{ readonly reports: StepReport[][]; readonly versions: Record<string, string> }> {
  const sides: Side[] = [];
  const versions: Record<string, string> = {};
  try {
    for (const start of open) {
      const side = start();
      sides.push(side);
      Object.assign(versions, await side.ready());
    }
    const reports: StepReport[][] = sides.map(() => []);
    for (let i = 0; i < WARM_UP + steps; i++) {
      for (const [k, side] of sides.entries()) {
        await setTimeout(PAUSE_MILLISECONDS);
        reports[k]?.push(await side.step());
      }
    }
    return { reports, versions };
  } finally {
    for (const side of sides) side.close();
  }
}

/** One line of the results. `reports`: ours, then Python's in float32 and in bfloat16 if there is a Python. */
export function summarize(
  { task, recompute }: Pick<WorkerArguments, "task" | "recompute">,
  reports: readonly StepReport[][],
  peak: number,
): Result {
  const [own, float32, bfloat16] = reports.map(totals);
  const { step, mean, memory, last } = own as Totals;
  const gflops = productFlops(task) / (step * 1e6);
  return {
    case: task.name,
    medianStepMilliseconds: step,
    meanStepMilliseconds: mean,
    gflops,
    peakShare: gflops / peak,
    peakMemoryBytes: memory,
    traceMilliseconds: last.ours?.traceMilliseconds ?? 0,
    openMilliseconds: last.ours?.openMilliseconds ?? 0,
    ...(float32 === undefined
      ? {}
      : {
          speedRatio: float32.step / step,
          memoryRatio: memory / float32.memory,
          pythonMedianStepMilliseconds: float32.step,
          pythonPeakMemoryBytes: float32.memory,
        }),
    ...(bfloat16 === undefined
      ? {}
      : {
          bfloat16SpeedRatio: bfloat16.step / step,
          bfloat16MemoryRatio: memory / bfloat16.memory,
          bfloat16MedianStepMilliseconds: bfloat16.step,
          bfloat16PeakMemoryBytes: bfloat16.memory,
        }),
    ...(recompute === "none" ? {} : { recompute }),
    ...(task.frozen === undefined ? {} : { frozen: task.frozen }),
  };
}

interface Totals {
  readonly step: number;
  readonly mean: number;
  readonly memory: number;
  readonly last: StepReport;
}

function totals(reports: readonly StepReport[]): Totals {
  const last = reports.at(-1) as StepReport;
  const times = reports.slice(WARM_UP).map(({ milliseconds }) => milliseconds);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  return { step: median(times), mean, memory: last.peakMemoryBytes, last };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  return sorted[sorted.length >> 1] as number;
}
