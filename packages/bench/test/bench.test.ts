import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "@peftjs/core";
import { listTasks } from "@peftjs/data";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  planRuns,
  pluginNamed,
  readExperiment,
  readMethodSettings,
  registeredMethods,
  registeredPlugins,
  RunResult,
  runBench,
  runKey,
  StoredRun,
} from "../src/index.ts";
import { presetNames } from "../src/experiment.ts";
import { rowOf } from "../src/rows.ts";
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

const allPlugins = registeredPlugins().map(({ name }) => name);

function plan(options: { methods?: string[]; tasks: string[] }) {
  const experiment = readExperiment("smoke");
  return planRuns({
    experiment: { ...experiment, rows: { train: 64, budget: null, dev: 16, test: 16 } },
    settings: readMethodSettings(),
    ...{ allMethods, allPlugins },
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

describe("a run with plug-ins", () => {
  it("says which share of the blocks learned, where one chooses them", async () => {
    const [ist, rates] = plan({ methods: ["lora+ist", "lora+attention-rates"], tasks: ["bshift"] });
    const result = RunResult.parse(await runOne(ist!));
    expect(result).toMatchObject({ method: "lora+ist", status: "ok" });
    // One of two blocks.
    expect(result.learningShare).toBeCloseTo(0.5, 12);
    expect(result.pluginMilliseconds).toBeGreaterThan(0);
    const other = await runOne(rates!);
    expect(other).not.toHaveProperty("learningShare");
    expect(other).not.toHaveProperty("pluginMilliseconds");
  });
});

describe("a run on a base of eight bits", () => {
  it("says so, and loses little of the way that the loss takes in float32", async () => {
    const [exact, held] = plan({ methods: ["lora", "lora+int8"], tasks: ["bshift"] });
    expect(held).toEqual({ ...exact, method: "lora+int8", variantOf: "lora", frozen: "int8" });
    const [one, other] = [RunResult.parse(await runOne(exact!)), RunResult.parse(await runOne(held!))];
    expect(one).not.toHaveProperty("frozen");
    expect(other.frozen).toBe("int8");
    // 64 rows in batches of 16, so a point for each step.
    expect(one.losses).toHaveLength(4);
    expect(other.losses).not.toEqual(one.losses);
    // Around ln 2, of outputs that are a few per cent off.
    other.losses!.forEach((loss, step) => expect(Math.abs(loss - one.losses![step]!)).toBeLessThan(0.02));
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
  const settings = readMethodSettings();
  const planned = (name: string) =>
    planRuns({
      ...{ experiment: readExperiment(name), settings, allMethods, allPlugins, engine: "onnx" },
      allTasks: listTasks().map((task) => task.name),
    });
  const rowsOf = (name: string): string[] => [...new Set(planned(name).map(({ method }) => method))];

  it.each(presetNames)("%s is valid, and its configs are those of its methods and plug-ins", (name) => {
    for (const { method, variantOf, methodConfig, plugins = {} } of planned(name)) {
      parseConfig(registeredMethods().get(variantOf ?? method), methodConfig);
      for (const [plugin, config] of Object.entries(plugins)) parseConfig(pluginNamed(plugin), config);
    }
  });

  it("give every registered method settings of its own", () => {
    for (const method of allMethods) expect(Object.keys(settings)).toContain(method);
  });

  it("quick compares methods alone, and gives a run the rows that it always had", () => {
    const quick = planned("quick");
    expect(quick).toHaveLength(21);
    for (const run of quick) for (const field of ["plugins", "frozen"]) expect(run).not.toHaveProperty(field);
    expect(quick[0]?.trainRows).toBe(2272);
  });

  it("full holds the runs that were made before there were plug-ins, as they were", () => {
    const stored = StoredRun.array().parse(
      JSON.parse(readFileSync(new URL("../results/full.json", import.meta.url), "utf8")),
    );
    const runs = new Map(planned("full").map((run) => [runKey(run), { ...run, threads: 1 }]));
    for (const { spec } of stored) expect(runs.get(runKey(spec))).toEqual(spec);
    expect(rowsOf("full")).toEqual(expect.arrayContaining(["lora+ist", "full+rst", "galore"]));
  });

  it("smoke has a row for every plug-in", () => {
    const used = planned("smoke").flatMap(({ plugins = {} }) => Object.keys(plugins));
    expect(new Set(used)).toEqual(new Set(allPlugins));
  });

  it("ist compares each method alone and under both plug-ins", () => {
    expect(rowsOf("ist")).toEqual(
      ["lora", "dora", "series", "parallel", "rocoft"].flatMap((row) => [row, `${row}+ist`, `${row}+rst`]),
    );
    expect(planned("ist")[0]).toEqual(planned("full").find(({ method }) => method === "lora"));
  });

  it("int8 compares each method in float32 and in eight bits, and nothing else differs", () => {
    const rows = ["lora", "dora", "rocoft"];
    expect(rowsOf("int8")).toEqual(rows.flatMap((row) => [row, `${row}+int8`]));
    const runs = planned("int8");
    expect(runs).toHaveLength(54);
    const exact = new Map(runs.map((run) => [runKey(run), run]));
    for (const run of runs.filter(({ frozen }) => frozen !== undefined)) {
      const { variantOf: method = "", frozen, ...rest } = run;
      expect({ ...rest, method }).toEqual(exact.get(runKey({ ...run, method })));
      expect(frozen).toBe("int8");
    }
  });

  it("attention compares all three roles with two at four ratios, beside what was published", () => {
    const { published } = readExperiment("attention");
    const rows = rowsOf("attention");
    expect(rows).toHaveLength(15);
    for (const row of Object.keys(published?.scores ?? {})) expect(rows).toContain(row);
    const { variants } = readExperiment("attention");
    expect(rowOf("dora-qv+lambda8", variants)).toMatchObject({
      method: "dora",
      config: { rank: 8, targetRoles: ["query", "value"] },
      plugins: { "attention-rates": { lambda: 8 } },
    });
  });

  it("refuses what is not there", () => {
    expect(() => readExperiment("quik")).toThrow(expect.objectContaining({ code: "PRESET_NOT_FOUND" }));
    expect(() => readExperiment("nowhere.yaml")).toThrow(expect.objectContaining({ code: "PRESET_NOT_FOUND" }));
  });
});
