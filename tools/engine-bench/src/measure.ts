import { setTimeout } from "node:timers/promises";
import type { Case } from "./cases.ts";
import { productFlops } from "./cases.ts";
import { IN_PYTHON } from "./methods.ts";
import { measurePeak } from "./peak.ts";
import type { Side, StepReport, WorkerArguments } from "./side.ts";
import { openOurs, openPython } from "./sides.ts";

const WARM_UP = 2;
/** Between two programs' steps: threads that still spin for work would slow the next one down. */
const PAUSE_MILLISECONDS = 50;

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
  /** The same two against Python under bfloat16 autocast. */
  readonly bfloat16SpeedRatio?: number;
  readonly bfloat16MemoryRatio?: number;
  readonly pythonMedianStepMilliseconds?: number;
  readonly pythonPeakMemoryBytes?: number;
  /** Median step, mean step and peak memory over those of the first case that ran in turn with this one. */
  readonly stepToFirst?: number;
  readonly meanStepToFirst?: number;
  readonly memoryToFirst?: number;
  readonly recompute?: "blocks";
}

export interface Measured {
  readonly result: Result;
  /** Of everything that ran. */
  readonly versions: Readonly<Record<string, string>>;
  /** GFLOP/s of one large product. */
  readonly peak: number;
}

export interface MeasureOptions extends WorkerArguments {
  readonly steps: number;
  readonly python: string | undefined;
}

/** Runs a case: our step and, when there is a Python, its step in float32 and in bfloat16, in turn. */
export async function measure(options: MeasureOptions): Promise<Measured> {
  const { python, steps } = options;
  const peak = await measurePeak(options.threads);
  const open = [
    () => openOurs(options),
    ...(python === undefined || !IN_PYTHON.includes(options.task.method)
      ? []
      : (["float32", "bfloat16"] as const).map((dtype) => () => openPython(python, options, dtype))),
  ];
  const { reports, versions } = await inTurn(open, steps);
  return { result: summarize(options, reports, peak), versions, peak };
}

export interface MeasureTogetherOptions extends Omit<MeasureOptions, "task" | "python"> {
  readonly tasks: readonly Case[];
}

/** Runs our steps of several cases in turn, so that they can be compared with each other: their ratios are to the first one. */
export async function measureTogether({ tasks, steps, ...settings }: MeasureTogetherOptions): Promise<Measured[]> {
  const peak = await measurePeak(settings.threads);
  const { reports, versions } = await inTurn(
    tasks.map((task) => () => openOurs({ task, ...settings })),
    steps,
  );
  const results = tasks.map((task, i) => summarize({ task, ...settings }, [reports[i] as StepReport[]], peak));
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
  { task, recompute }: Pick<MeasureOptions, "task" | "recompute">,
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
      : { bfloat16SpeedRatio: bfloat16.step / step, bfloat16MemoryRatio: memory / bfloat16.memory }),
    ...(recompute === "none" ? {} : { recompute }),
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
