import { defineTrainingPlugin, peft } from "@peftjs/core";
import type { AttachedPlugin, PluginContext, PluginRun, TrainingPlugin } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { added, blockModel, BLOCKS } from "../../test/blockModel.ts";
import { tinyBatch, tinyEvaluation } from "../../test/tinyModel.ts";
import { EventBus } from "../events.ts";
import type { PluginEvent } from "../events.ts";
import type { TrainingPlan } from "../model.ts";
import { PluginRuns } from "./pluginRuns.ts";
import type { PluginRunsOptions } from "./pluginRuns.ts";

const FRESH = { step: 0, state: {}, records: [] } as const;

function plugin(name: string, start: (context: PluginContext<object>) => PluginRun): TrainingPlugin {
  const text = { description: "A toy.", package: "toys", config: z.strictObject({}) };
  return defineTrainingPlugin({ ...text, name, start, report: (records) => ({ [name]: JSON.stringify(records) }) });
}

/** Plug-ins on a model of three blocks, not started, and the events that they caused. */
async function attached(plugins: readonly TrainingPlugin[], options: Partial<PluginRunsOptions> = {}) {
  const model = await peft(blockModel()).use(added).apply();
  for (const one of plugins) model.plugins.attach({ plugin: one } as unknown as AttachedPlugin);
  const events = new EventBus();
  const told: PluginEvent[] = [];
  events.on("plugin", (event) => told.push(event));
  const engine = await createEngine({ kind: "eager", backend: "cpu" });
  const train: TrainingPlan = { batchesPerEpoch: 4, batchAt: tinyBatch };
  const given = { model, plugins: model.plugins, engine, train, evaluation: undefined, seed: 3, events };
  return { runs: new PluginRuns({ ...given, warn: () => undefined, ...options }), told };
}

function failure(code: string, message: RegExp): unknown {
  return expect.objectContaining({ code, message: expect.stringMatching(message) as unknown });
}

describe("PluginRuns", () => {
  it("keeps what start records until somebody listens, and reports it after what an interrupted run recorded", async () => {
    const early = plugin("early", ({ tools }) => {
      tools.record({ begins: true });
      return { beforeStep: () => (tools.record({ goes: true }), {}) };
    });
    const { runs, told } = await attached([early]);
    const [before, other] = ["early", "other"].map((name) => ({ step: 4, plugin: name, record: { step: 4 } }));
    runs.start({ step: 4, state: {}, records: [before, other] as PluginEvent[] });
    expect(told).toEqual([]);
    runs.announce();
    await runs.beforeStep(5);
    const records = [
      { begins: true, step: 5 },
      { goes: true, step: 5 },
    ];
    expect(told).toEqual(records.map((record) => ({ step: 5, plugin: "early", record })));
    expect(JSON.parse(runs.report()["early"] as string)).toEqual([{ step: 4 }, ...records]);
  });

  it("hands each plug-in its own state, and keeps that of those that have one", async () => {
    const counting = plugin("counting", ({ state }) => {
      let count = (state as number | undefined) ?? 0;
      return { beforeStep: () => (void count++, {}), state: () => count };
    });
    const { runs } = await attached([plugin("still", () => ({})), counting]);
    runs.start({ ...FRESH, state: { counting: 7, still: 1 } });
    await runs.beforeStep(1);
    expect(runs.state).toEqual({ counting: 8 });
    expect(Object.keys(runs.fingerprint)).toEqual(["counting", "still"]);
  });

  it("passes on the blocks that are chosen, and refuses others than the model's", async () => {
    const choices = [[0, 2], [], [1, BLOCKS], [-1], [0.5]];
    const chooser = plugin("chooser", () => ({
      choosesBlocks: true,
      beforeStep: (step) => ({ blocks: choices[step - 1] }),
    }));
    const { runs } = await attached([plugin("still", () => ({})), chooser]);
    runs.start(FRESH);
    expect(runs.choosesBlocks).toBe(true);
    expect([await runs.beforeStep(1), await runs.beforeStep(2)]).toEqual([[0, 2], []]);
    for (const [step, wrong] of [
      [3, "3"],
      [4, "-1"],
      [5, "0.5"],
    ] as const) {
      await expect(runs.beforeStep(step)).rejects.toThrow(
        failure("PLUGIN_INVALID", new RegExp(`the block ${wrong} for step ${step}, .* blocks 0 to 2`, "u")),
      );
    }
    expect(await runs.beforeStep(6)).toBeUndefined();
  });

  it("refuses a choice that was not announced, and two plug-ins that choose", async () => {
    const quiet = plugin("quiet", () => ({ beforeStep: () => ({ blocks: [0] }) }));
    const { runs } = await attached([quiet]);
    runs.start(FRESH);
    expect(runs.choosesBlocks).toBe(false);
    await expect(runs.beforeStep(1)).rejects.toThrow(failure("PLUGIN_INVALID", /Return choosesBlocks: true/u));
    const two = await attached(["one", "two"].map((name) => plugin(name, () => ({ choosesBlocks: true }))));
    expect(() => two.runs.start(FRESH)).toThrow(failure("PLUGIN_CONFLICT", /"one" and "two" both choose/u));
  });
});

describe("the loss that plug-ins ask for", () => {
  const asking = (ask: (tools: PluginContext<object>["tools"]) => Promise<number>): TrainingPlugin =>
    plugin("asking", ({ tools }) => ({ beforeStep: async () => (tools.record({ loss: await ask(tools) }), {}) }));
  const lossOf = async (
    options: Parameters<PluginContext<object>["tools"]["loss"]>[0],
    more: Partial<PluginRunsOptions> = {},
  ): Promise<unknown> => {
    const { runs, told } = await attached([asking((tools) => tools.loss(options))], more);
    runs.start(FRESH);
    runs.announce();
    await runs.beforeStep(1);
    await runs.dispose();
    return told[0]?.record["loss"];
  };

  it("is that of the training plan divided anew, by rows and a seed, or of the plan as it is", async () => {
    const divisions: unknown[] = [];
    const train: TrainingPlan = {
      ...{ batchesPerEpoch: 4, batchAt: tinyBatch },
      divided: (how) => {
        divisions.push(how);
        return { batchesPerEpoch: 4, batchAt: (index) => tinyBatch(index + 1) };
      },
    };
    const own = await lossOf({ source: "train", index: 2, rows: 4 });
    expect(await lossOf({ source: "train", index: 1, rows: 4 }, { train })).toBe(own);
    expect(divisions).toEqual([{ rows: 4, seed: 3 }]);
    expect(await lossOf({ source: "train", index: 1, rows: 4 })).not.toBe(own);
  });

  it("goes round the evaluation's batches, and says when there are none", async () => {
    const evaluation = tinyEvaluation();
    const at = (index: number) => lossOf({ source: "validation", index, rows: 4 }, { evaluation });
    expect(await at(evaluation.batches)).toBe(await at(0));
    await expect(lossOf({ source: "validation", index: 0, rows: 4 })).rejects.toThrow(
      failure("DATA_MISSING", /`evaluation` plan/u),
    );
  });

  it("counts what adapters add in each block as it is told to", async () => {
    const at = (responseScale?: readonly number[]) =>
      lossOf({ source: "train", index: 0, rows: 4, ...(responseScale && { responseScale }) });
    const whole = await at();
    expect(await at([1, 1, 1])).toBeCloseTo(whole as number, 6);
    expect(await at([1, 0, 1])).not.toBeCloseTo(whole as number, 3);
  });
});
