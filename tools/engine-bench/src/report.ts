import { renameSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import type { Measured, Result } from "./measure.ts";
import { formatTable, megabytes } from "./table.ts";

/** One column of the table; what it has no number for stays empty. */
interface Column {
  readonly title: string;
  value(result: Result): string;
}

const optional = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? "";
const optionalMegabytes = (bytes: number | undefined): string => (bytes === undefined ? "" : megabytes(bytes));

const COLUMNS: readonly Column[] = [
  { title: "case", value: (result) => result.case },
  { title: "step ms", value: ({ medianStepMilliseconds: step }) => step.toFixed(step < 100 ? 1 : 0) },
  { title: "mean ms", value: ({ meanStepMilliseconds: step }) => step.toFixed(step < 100 ? 1 : 0) },
  { title: "GFLOP/s", value: ({ gflops }) => gflops.toFixed(0) },
  { title: "of peak", value: ({ peakShare }) => peakShare.toFixed(2) },
  { title: "memory MB", value: ({ peakMemoryBytes }) => megabytes(peakMemoryBytes) },
  { title: "trace + open ms", value: (result) => (result.traceMilliseconds + result.openMilliseconds).toFixed(0) },
];

const COMPARISON: readonly Column[] = [
  { title: "Python ms", value: ({ pythonMedianStepMilliseconds: step }) => optional(step, 0) },
  { title: "Python MB", value: ({ pythonPeakMemoryBytes: bytes }) => optionalMegabytes(bytes) },
  { title: "speed", value: ({ speedRatio }) => optional(speedRatio, 2) },
  { title: "memory", value: ({ memoryRatio }) => optional(memoryRatio, 2) },
  { title: "bf16 ms", value: ({ bfloat16MedianStepMilliseconds: step }) => optional(step, 0) },
  { title: "bf16 MB", value: ({ bfloat16PeakMemoryBytes: bytes }) => optionalMegabytes(bytes) },
  { title: "speed (bf16)", value: ({ bfloat16SpeedRatio }) => optional(bfloat16SpeedRatio, 2) },
  { title: "memory (bf16)", value: ({ bfloat16MemoryRatio }) => optional(bfloat16MemoryRatio, 2) },
];

const AMONG_EACH_OTHER: readonly Column[] = [
  { title: "step to first", value: ({ stepToFirst }) => optional(stepToFirst, 2) },
  { title: "mean to first", value: ({ meanStepToFirst }) => optional(meanStepToFirst, 2) },
  { title: "memory to first", value: ({ memoryToFirst }) => optional(memoryToFirst, 2) },
];

const WITHOUT_PYTHON = `No comparison: PEFTJS_PYTHON is not set. For the ratios, name an interpreter that has torch, transformers and peft:
  python3 -m venv venv && venv/bin/pip install torch transformers peft
  PEFTJS_PYTHON=venv/bin/python npx nx run engine:bench`;

const WITH_PYTHON = `Speed: Python's median step over ours (above 1: ours is faster). Memory: our largest resident set over Python's (below 1: ours
is smaller). Python computes in float32, and in the columns marked bf16 under bfloat16 autocast.`;

const TOGETHER =
  "Steps of several cases ran in turn: ratios of median and mean steps and of largest resident sets to those of the first of them.";

const INTEGERS =
  "Where weights are held in int8, GFLOP/s count products of integers, too; the peak is that of a float32 product.";

/** The machine, what ran on it, and one row per case. */
export function formatReport(measured: readonly Measured[], threads: number): string {
  const results = measured.map(({ result }) => result);
  const compared = results.some(({ speedRatio }) => speedRatio !== undefined);
  const together = results.some(({ stepToFirst }) => stepToFirst !== undefined);
  const columns = [...COLUMNS, ...(compared ? COMPARISON : []), ...(together ? AMONG_EACH_OTHER : [])];
  const rows = results.map((result) => columns.map(({ value }) => value(result)));
  const titles = columns.map(({ title }) => title);
  return [
    ...describe(measured, threads),
    "",
    formatTable(titles, rows),
    "",
    ...(compared ? [WITH_PYTHON] : together ? [] : [WITHOUT_PYTHON]),
    ...(together ? [TOGETHER] : []),
    ...(results.some(({ frozen }) => frozen?.startsWith("int8")) ? [INTEGERS] : []),
  ].join("\n");
}

function describe(measured: readonly Measured[], threads: number): string[] {
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  const gigabytes = (totalmem() / 1e9).toFixed(0);
  const versions: Readonly<Record<string, string>> = Object.assign({}, ...measured.map((one) => one.versions));
  const peaks = measured.map(({ peak }) => peak);
  const [low, high] = [Math.min(...peaks).toFixed(0), Math.max(...peaks).toFixed(0)];
  return [
    `${processor}, ${availableParallelism()} processors, ${gigabytes} GB; ${threads} threads for each program`,
    Object.entries({ System: `${process.platform} ${process.arch}`, ...versions })
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
    `One large matrix product: ${low === high ? low : `${low} to ${high}`} GFLOP/s`,
  ];
}

/** Nobody sees a file that is half written. */
export function writeResults(file: string, results: readonly Result[]): void {
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(results, null, 2)}\n`);
  renameSync(temporary, file);
}
