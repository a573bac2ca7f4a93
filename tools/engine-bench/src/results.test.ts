import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CASES, frozenAs, productFlops } from "./cases.ts";
import type { Case } from "./cases.ts";
import { summarize } from "./measure.ts";
import type { Measured } from "./measure.ts";
import { formatReport, writeResults } from "./report.ts";
import type { StepReport } from "./side.ts";

const task = CASES[7] as Case;
const ours = { traceMilliseconds: 70, openMilliseconds: 80, residentBytes: 1e8, tensors: 0 };

/** Two slow steps that warm up, then some of which `step` is the median. */
function reports(step: number, peakMemoryBytes: number): StepReport[] {
  const times = [900, 500, step + 3, step - 1, step, step + 1, step - 2];
  return times.map((milliseconds) => ({ milliseconds, loss: 1, peakMemoryBytes, ours }));
}

describe("results", () => {
  it("without Python have the agreed names and the median of the counted steps", () => {
    const gflops = productFlops(task) / (8 * 1e6);
    expect(summarize({ task, recompute: "none" }, [reports(8, 2e8)], 250)).toEqual({
      case: "4x128-8x32-lora",
      medianStepMilliseconds: 8,
      meanStepMilliseconds: 8.2,
      gflops,
      peakShare: gflops / 250,
      peakMemoryBytes: 2e8,
      traceMilliseconds: 70,
      openMilliseconds: 80,
    });
  });

  it("say how much faster we are, and what part of Python's memory we take", () => {
    const all = [reports(8, 2e8), reports(20, 5e8), reports(16, 4e8)];
    expect(summarize({ task, recompute: "blocks" }, all, 250)).toMatchObject({
      speedRatio: 2.5,
      memoryRatio: 0.4,
      bfloat16SpeedRatio: 2,
      bfloat16MemoryRatio: 0.5,
      pythonMedianStepMilliseconds: 20,
      pythonPeakMemoryBytes: 5e8,
      bfloat16MedianStepMilliseconds: 16,
      bfloat16PeakMemoryBytes: 4e8,
      recompute: "blocks",
    });
  });

  it("are a table of equally long rows, with what to do for the ratios", () => {
    const alone = summarize({ task, recompute: "none" }, [reports(8, 2e8)], 250);
    const text = formatReport([{ result: alone, versions: { Node: "20.0.0" }, peak: 250 }], 2);
    expect(text).toContain("Node 20.0.0");
    expect(text).toContain("PEFTJS_PYTHON is not set");
    const lines = text.split("\n");
    const head = lines.findIndex((line) => line.startsWith("case"));
    expect(lines.slice(head, head + 3).map(({ length }) => length)).toEqual(Array(3).fill(lines[head]?.length));
    const compared = summarize({ task, recompute: "none" }, [reports(8, 2e8), reports(20, 5e8)], 250);
    expect(formatReport([{ result: compared, versions: {}, peak: 250 }], 2)).toMatch(
      /Python MB +speed +memory.*\n.*\n.* 500 +2\.50 +0\.40/,
    );
  });

  it("of cases in turn stand beside each other, and say what the rate of integers is compared with", () => {
    const all = [reports(20, 5e8), reports(16, 4e8)];
    const [plain, held] = [task, frozenAs(task, "int8")].map((one, i) => ({
      result: {
        ...summarize({ task: one, recompute: "none" }, [reports(i === 0 ? 8 : 4, 2e8), ...all], 250),
        stepToFirst: i === 0 ? 1 : 0.5,
      },
      versions: {},
      peak: 250,
    })) as [Measured, Measured];
    expect(held.result.frozen).toBe("int8");
    const text = formatReport([plain, held], 2);
    expect(text).toMatch(/4x128-8x32-lora +8\.0 .* 1\.00\n4x128-8x32-lora-int8 +4\.0 .* 5\.00 .* 4\.00 .* 0\.50/);
    for (const part of ["median step over ours", "ran in turn", "a float32 product"]) expect(text).toContain(part);
    expect(formatReport([plain], 2)).not.toContain("int8");
  });

  it("are written whole, and nothing is left beside them", () => {
    const folder = mkdtempSync(join(tmpdir(), "engine-bench-"));
    const result = summarize({ task, recompute: "none" }, [reports(8, 2e8)], 250);
    writeResults(join(folder, "results.json"), [result]);
    expect(readdirSync(folder)).toEqual(["results.json"]);
    expect(JSON.parse(readFileSync(join(folder, "results.json"), "utf8"))).toEqual([result]);
    rmSync(folder, { recursive: true });
  });
});
