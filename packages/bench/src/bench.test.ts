import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runBench } from "./bench.ts";
import type { BenchProgress } from "./bench.ts";
import type { RunResult, RunSpec } from "./results.ts";

/** A worker that scores by seed, and ends badly in the ways a run can. */
const workerSource = `
import { readFileSync, writeFileSync } from "node:fs";
const [specFile, resultFile] = process.argv.slice(2);
const spec = JSON.parse(readFileSync(specFile, "utf8"));
if (spec.method === "throws") { console.error("noise\\nerror [SOME_CODE] what to do"); process.exit(1); }
if (spec.method === "dies") process.kill(process.pid, "SIGKILL");
if (spec.method === "silent") process.exit(0);
if (spec.method === "hangs") setInterval(() => {}, 1000);
else writeFileSync(resultFile, JSON.stringify({ method: spec.method, task: spec.task, seed: spec.seed, metric: "accuracy", score: spec.seed / 10,
  trainableParameters: 1, totalParameters: 2, stepMilliseconds: 3, peakMemoryBytes: 4, losses: [2, 1], seconds: 5, status: "ok" }));
`;

const spec = (fields: Partial<RunSpec>): RunSpec => ({
  method: "good",
  methodConfig: {},
  task: "a",
  seed: 1,
  model: null,
  engine: "onnx",
  threads: null,
  learningRate: 0.1,
  weightDecay: 0,
  warmupFraction: 0,
  batchSize: 8,
  maxLength: 8,
  trainRows: 8,
  epochs: 1,
  devRows: 8,
  testRows: 8,
  ...fields,
});

let folder: string;
let worker: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "peftjs-bench-"));
  writeFileSync(join(folder, "worker.mjs"), workerSource);
  worker = [join(folder, "worker.mjs")];
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function bench(
  runs: RunSpec[],
  options: { fresh?: boolean } = {},
): Promise<{ results: readonly RunResult[]; progress: BenchProgress[] }> {
  const progress: BenchProgress[] = [];
  const out = join(folder, "out");
  const results = await runBench({
    out,
    runs,
    worker,
    title: "T",
    timeoutMilliseconds: 1500,
    onRun: (event) => progress.push(event),
    ...options,
  });
  return { results, progress };
}

describe("runBench", () => {
  it("turns every kind of failure into a row and goes on", async () => {
    const runs = ["throws", "dies", "silent", "hangs", "good"].map((method) => spec({ method }));
    const { results } = await bench(runs);
    expect(results.map((result) => result.status)).toEqual(["error", "error", "error", "error", "ok"]);
    expect(results[0]!.error).toBe("error [SOME_CODE] what to do");
    expect(results[1]!.error).toContain("SIGKILL");
    expect(results[2]!.error).toBe("The run ended without a result.");
    expect(results[4]!.score).toBe(0.1);
    expect(JSON.parse(readFileSync(join(folder, "out/results.json"), "utf8"))).toEqual(results);
    expect(readFileSync(join(folder, "out/report.md"), "utf8")).toContain("error [SOME_CODE] what to do");
  });

  it("keeps finished runs, and runs again what failed or is asked for differently", async () => {
    await bench([spec({}), spec({ seed: 2 }), spec({ method: "throws" })]);
    expect(readdirSync(join(folder, "out/runs")).sort()).toEqual([
      "good__a__s1.json",
      "good__a__s2.json",
      "throws__a__s1.json",
    ]);
    const { progress } = await bench([spec({}), spec({ seed: 2, learningRate: 0.2 }), spec({ method: "throws" })]);
    expect(progress.filter((event) => event.result !== undefined).map((event) => event.kept)).toEqual([
      true,
      false,
      false,
    ]);
    const again = await bench([spec({})], { fresh: true });
    expect(again.progress.at(-1)!.kept).toBe(false);
  });

  it("draws the losses of runs that differ in how frozen weights are held", async () => {
    await bench([spec({})]);
    expect(readdirSync(join(folder, "out"))).not.toContain("losses.svg");
    await bench([spec({}), spec({ method: "good+int8", variantOf: "good", frozen: "int8" })]);
    expect(readFileSync(join(folder, "out/losses.svg"), "utf8").match(/<polyline/g)).toHaveLength(2);
    expect(readFileSync(join(folder, "out/report.md"), "utf8")).toContain("](losses.svg)");
  });
});
