import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import type { Case } from "./cases.ts";
import { CASES, productFlops } from "./cases.ts";
import { measurePeak } from "./peak.ts";
import type { StepReport } from "./side.ts";
import { Side } from "./side.ts";

const here = dirname(fileURLToPath(import.meta.url));
const WARM_UP = 2;

interface Flags {
  readonly cases?: string;
  readonly steps: string;
  readonly threads: string;
  readonly json?: string;
}

interface Result {
  readonly case: string;
  readonly medianStepMilliseconds: number;
  readonly gflops: number;
  readonly peakShare: number;
  readonly peakMemoryBytes: number;
  readonly traceMilliseconds: number;
  readonly openMilliseconds: number;
  /** Python's median step over ours, when PEFTJS_PYTHON names an interpreter. */
  readonly speedRatio?: number;
  /** Our peak resident memory over Python's. */
  readonly memoryRatio?: number;
}

const program = new Command("engine-bench")
  .description(
    "Times one training step per case; with PEFTJS_PYTHON set, step by step in turn with Python's transformers and peft.",
  )
  .option("--cases <names>", "comma-separated names; default: all")
  .option("--steps <n>", "counted steps per case", "15")
  .option("--threads <n>", "threads of each side", "2")
  .option("--json <file>", "write the results there as well");
await program.parseAsync();
const flags: Flags = program.opts();
const asked = flags.cases?.split(",");
const results: Result[] = [];
const peak = await measurePeak(Number(flags.threads));
console.log(`matrix-product peak ${peak.toFixed(0)} GFLOP/s on ${flags.threads} threads`);
for (const task of CASES.filter(({ name }) => asked?.includes(name) ?? true)) {
  const result = await measure(task);
  results.push(result);
  console.log(JSON.stringify(result));
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);

async function measure(task: Case): Promise<Result> {
  const python = process.env["PEFTJS_PYTHON"];
  const args = [JSON.stringify(task), flags.threads];
  const ours = new Side(process.execPath, [
    "--import",
    "tsx",
    "--conditions=@peftjs/source",
    join(here, "worker.ts"),
    ...args,
  ]);
  const theirs =
    python === undefined ? null : new Side(python, [join(here, "..", "..", "reference", "step.py"), ...args]);
  const [a, b]: [StepReport[], StepReport[]] = [[], []];
  await ours.ready();
  await theirs?.ready();
  for (let i = 0; i < WARM_UP + Number(flags.steps); i++) {
    a.push(await ours.step());
    if (theirs !== null) b.push(await theirs.step());
  }
  ours.close();
  theirs?.close();
  return summarize(task, a, b);
}

function summarize(task: Case, ours: readonly StepReport[], theirs: readonly StepReport[]): Result {
  const last = ours.at(-1) as StepReport;
  const step = medianOf(ours);
  const gflops = productFlops(task) / (step * 1e6);
  const result = {
    case: task.name,
    medianStepMilliseconds: step,
    gflops,
    peakShare: gflops / peak,
    peakMemoryBytes: last.peakMemoryBytes,
    traceMilliseconds: last.traceMilliseconds ?? 0,
    openMilliseconds: last.openMilliseconds ?? 0,
  };
  const other = theirs.at(-1);
  if (other === undefined) return result;
  return { ...result, speedRatio: medianOf(theirs) / step, memoryRatio: last.peakMemoryBytes / other.peakMemoryBytes };
}

function medianOf(reports: readonly StepReport[]): number {
  const sorted = reports
    .slice(WARM_UP)
    .map(({ milliseconds }) => milliseconds)
    .sort((x, y) => x - y);
  return sorted[sorted.length >> 1] as number;
}
