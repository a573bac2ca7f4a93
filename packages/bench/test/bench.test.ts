import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planRuns, readExperiment, readMethodSettings, registeredMethods, RunResult, runBench } from "../src/index.ts";
import { runOne, withPresentModules } from "../src/runOne.ts";
import { writeTinyModel } from "./tinyModel.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "peftjs-bench-"));
  await writeTinyModel(join(folder, "model"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const allMethods = registeredMethods()
  .list()
  .map(({ name }) => name);

function plan(options: { methods?: string[]; tasks: string[] }) {
  const experiment = readExperiment("smoke");
  return planRuns({
    experiment: { ...experiment, rows: { train: 64, budget: null, dev: 16, test: 16 } },
    settings: readMethodSettings(),
    allMethods,
    allTasks: ["bshift", "wn-sim"],
    model: join(folder, "model"),
    engine: "onnx",
    threads: 1,
    ...options,
  });
}

describe("a run", () => {
  it.each(allMethods)("%s: has every figure, and the same score the second time", async (method) => {
    const spec = plan({ methods: [method], tasks: ["wn-sim"] })[0]!;
    const [first, second] = [await runOne(spec), await runOne(spec)];
    expect(RunResult.parse(first)).toMatchObject({ method, task: "wn-sim", seed: 0, metric: "pearson", status: "ok" });
    expect(first.score).toBe(second.score);
    expect(Math.abs(first.score!)).toBeLessThanOrEqual(1);
    expect(first.stepMilliseconds).toBeGreaterThan(0);
    expect(first.peakMemoryBytes).toBeGreaterThan(30e6);
    expect(first.trainableParameters).toBeGreaterThan(0);
    expect(first.totalParameters).toBeGreaterThanOrEqual(first.trainableParameters!);
  });
});

describe("the comparison", () => {
  it("runs in processes of its own and reports an error beside a result", async () => {
    const runs = plan({ methods: ["lora"], tasks: ["bshift"] });
    const broken = { ...runs[0]!, seed: 1, methodConfig: { targetModules: ["nothing"] } };
    const results = await runBench({ out: join(folder, "out"), runs: [...runs, broken], title: "T" });
    expect(results.map(({ status }) => status)).toEqual(["ok", "error"]);
    expect(results[1]!.error).toContain("error [TARGET_NOT_FOUND] No layer matches");
    const text = readFileSync(join(folder, "out/report.md"), "utf8");
    expect(text).toMatch(/\| lora \(1 failed\) \|/);
  });
});

describe("withPresentModules", () => {
  it("leaves out the modules that another family has", () => {
    const tensor = { dtype: "float32", shape: [1], data: new Float32Array(1) } as const;
    const parameters = new Map([
      ["roberta.encoder.layer.0.output.dense.weight", tensor],
      ["classifier.dense.weight", tensor],
    ]);
    const config = { rank: 2, modulesToSave: ["pooler", "classifier"] };
    expect(withPresentModules(config, { parameters })).toEqual({ rank: 2, modulesToSave: ["classifier"] });
    expect(withPresentModules({ rank: 2 }, { parameters })).toEqual({ rank: 2 });
  });
});

describe("presets", () => {
  it.each(["quick", "smoke", "full"])("%s is valid, and every registered method has settings of its own", (name) => {
    const experiment = readExperiment(name);
    expect(experiment.methods).toBe("all");
    for (const method of allMethods) expect(Object.keys(readMethodSettings())).toContain(method);
  });

  it("refuses what is not there", () => {
    expect(() => readExperiment("quik")).toThrow(expect.objectContaining({ code: "PRESET_NOT_FOUND" }));
    expect(() => readExperiment("nowhere.yaml")).toThrow(expect.objectContaining({ code: "PRESET_NOT_FOUND" }));
  });
});
