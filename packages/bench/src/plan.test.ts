import { describe, expect, it } from "vitest";
import { Experiment } from "./experiment.ts";
import type { FrozenSetting } from "./frozen.ts";
import { planRuns, rowsPerRun } from "./plan.ts";

const experiment = Experiment.parse({
  tasks: ["a", "b"],
  seeds: [0],
  batchSize: 8,
  epochs: 2,
  rows: { train: 1000, budget: 8000, dev: 10, test: 20 },
});
const settings = { default: { learningRate: 0.1, config: {} }, two: { learningRate: 0.2, config: { rank: 4 } } };
const common = {
  experiment,
  settings,
  allMethods: ["one", "two"],
  allPlugins: ["plug"],
  allTasks: ["a", "b", "c"],
  engine: "onnx",
} as const;

describe("planRuns", () => {
  it("takes every method on every task of the preset, with each method's settings", () => {
    const runs = planRuns(common);
    expect(runs.map((run) => `${run.method}/${run.task}/${run.learningRate}`)).toEqual([
      "one/a/0.1",
      "two/a/0.2",
      "one/b/0.1",
      "two/b/0.2",
    ]);
    expect(runs[1]!.methodConfig).toEqual({ rank: 4 });
  });

  it("puts variants behind their method, under their own names", () => {
    const variant = { method: "one", learningRate: 0.3, config: { rank: 2 } };
    const runs = planRuns({ ...common, settings: { ...settings, other: variant }, tasks: ["a"] });
    expect(runs.map(({ method, variantOf, learningRate }) => [method, variantOf, learningRate])).toEqual([
      ["one", undefined, 0.1],
      ["other", "one", 0.3],
      ["two", undefined, 0.2],
    ]);
    expect(runs[0]!.trainRows).toBe(664);
  });

  it("narrows by name and refuses unknown names with near misses", () => {
    expect(
      planRuns({ ...common, methods: ["two"], tasks: ["c"], seeds: [3, 4] }).map((run) => [
        run.method,
        run.task,
        run.seed,
      ]),
    ).toEqual([
      ["two", "c", 3],
      ["two", "c", 4],
    ]);
    expect(() => planRuns({ ...common, methods: ["tow"] })).toThrow(
      expect.objectContaining({ code: "METHOD_UNKNOWN", message: expect.stringContaining('"two"') as string }),
    );
    expect(() => planRuns({ ...common, tasks: ["d"] })).toThrow(expect.objectContaining({ code: "TASK_UNKNOWN" }));
  });

  it("shares the row budget among the runs that all methods would take", () => {
    // 8000 rows / (2 epochs × 4 runs) = 1000, capped by the preset's own 1000.
    expect(rowsPerRun(experiment, 4)).toBe(1000);
    // Twice the methods: half the rows, in whole batches of 8.
    expect(rowsPerRun(experiment, 8)).toBe(496);
    expect(rowsPerRun(experiment, 8000)).toBe(8);
  });

  it("gives a run the same length whichever others are chosen", () => {
    expect(planRuns({ ...common, methods: ["two"] })[0]).toEqual(planRuns(common)[1]);
  });
});

describe("rows with plug-ins", () => {
  const more = {
    ...settings,
    sparse: { method: "two", learningRate: 0.4, plugins: { plug: { rank: 1 } } },
    "+double": { plugins: { plug: { factor: 2 } } },
    "+plug": { plugins: { plug: {} } },
    "two+plug": { learningRate: 0.5 },
  };
  const planned = (...methods: string[]) =>
    planRuns({ ...common, settings: more, tasks: ["a"], methods }).map((run) => [
      run.method,
      run.variantOf,
      run.learningRate,
      run.plugins,
    ]);

  it("are a row and what its name adds", () => {
    expect(planned("one+plug", "one+double", "sparse", "sparse+double")).toEqual([
      ["one+plug", "one", 0.1, { plug: {} }],
      ["one+double", "one", 0.1, { plug: { factor: 2 } }],
      ["sparse", "two", 0.4, { plug: { rank: 1 } }],
      ["sparse+double", "two", 0.4, { plug: { factor: 2 } }],
    ]);
  });

  it("have settings of their own over those", () => {
    expect(planned("two+plug")).toEqual([["two+plug", "two", 0.5, { plug: {} }]]);
    const [run] = planRuns({ ...common, settings: more, methods: ["two+plug"] });
    expect(run?.methodConfig).toEqual({ rank: 4 });
  });

  it('are none of "all", and cost it no rows; others have no word of plug-ins', () => {
    const all = planRuns({ ...common, settings: more });
    expect(all).toEqual(planRuns(common));
    for (const run of all) expect(run).not.toHaveProperty("plugins");
    const methods = ["all", "one+plug"];
    const widened = planRuns({ ...common, settings: more, experiment: { ...experiment, methods }, tasks: ["a"] });
    expect(widened.map(({ method }) => method)).toEqual(["one", "two", "one+plug"]);
  });

  it("come from the preset, too", () => {
    const variants = { mine: { method: "one", config: { rank: 9 } } };
    const runs = planRuns({ ...common, experiment: { ...experiment, methods: ["mine"], variants }, tasks: ["a"] });
    expect(
      runs.map(({ method, variantOf, methodConfig, learningRate }) => [method, variantOf, methodConfig, learningRate]),
    ).toEqual([["mine", "one", { rank: 9 }, 0.001]]);
  });

  it("hold frozen weights as the row says, else as all others do", () => {
    const held = {
      ...settings,
      "+int8": { frozen: "int8" },
      "two+int8": { frozen: { type: "int8", backward: "float32" } },
    } as const;
    const planned = (frozen?: FrozenSetting) =>
      planRuns({
        ...common,
        settings: held,
        tasks: ["a"],
        methods: ["one", "one+int8", "two+plug+int8", "two+int8"],
        frozen,
      });
    expect(planned().map(({ method, frozen, plugins }) => [method, frozen, plugins])).toEqual([
      ["one", undefined, undefined],
      ["one+int8", "int8", undefined],
      ["two+plug+int8", "int8", { plug: {} }],
      ["two+int8", { type: "int8", backward: "float32" }, undefined],
    ]);
    expect(planned("bfloat16").map(({ frozen }) => frozen)).toEqual([
      ...["bfloat16", "int8", "int8"],
      { type: "int8", backward: "float32" },
    ]);
    // Stored runs of float32 are found again.
    expect(planned("float32")).toEqual(planned());
    expect(planned({ type: "float32" })).toEqual(planned());
    expect(planned({ type: "bfloat16" })).toEqual(planned("bfloat16"));
    expect(planned()[0]).not.toHaveProperty("frozen");
  });

  it("are refused when a part is unknown", () => {
    const error = (code: string, near: string): unknown =>
      expect.objectContaining({ code, message: expect.stringContaining(near) as string });
    expect(() => planned("one+plgu")).toThrow(error("PLUGIN_UNKNOWN", '"plug"'));
    expect(() => planned("on+plug")).toThrow(error("METHOD_UNKNOWN", '"one"'));
    expect(() => planned("one+plgu")).toThrow(error("PLUGIN_UNKNOWN", "Known: plug, double."));
    expect(() => planned("default")).toThrow(error("METHOD_UNKNOWN", "Known: one, two, sparse."));
  });
});
