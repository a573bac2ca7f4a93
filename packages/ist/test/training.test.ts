import { cloneTensor, defineTrainingPlugin, peft } from "@peftjs/core";
import type { HostTensor, Method, Named, PeftModel, TrainingPlugin } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { full, parallel, series } from "@peftjs/method-classic";
import { dora, lora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { batchAt, tinyModel } from "@peftjs/testkit/conformance";
import { Trainer } from "@peftjs/train";
import type { TrainingConfigInput } from "@peftjs/train";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { historyOf, ist, rst } from "../src/index.ts";
import type { History } from "../src/index.ts";

const BLOCKS = 8;
const STEPS = 9;
const settings = { interval: 3, seed: 7 } as const;
const attention = { targetModules: ["query", "value"] } as const;

type Values = Named<HostTensor>;

interface Traced {
  readonly model: PeftModel;
  readonly losses: readonly number[];
  /** Copies of all that learns: at the start, and after each step. */
  readonly values: readonly Values[];
  readonly history: History;
}

interface TraceOptions {
  readonly engine: Engine;
  readonly method?: readonly [method: unknown, config: object];
  readonly plugin?: readonly [plugin: unknown, config: object] | undefined;
  readonly training?: TrainingConfigInput;
}

const copyOf = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).map(([name, tensor]) => [name, cloneTensor(tensor)]));

/** A short run of a tiny classifier with eight blocks and dropout. */
async function traced({ engine, method = [lora, attention], plugin, training }: TraceOptions): Promise<Traced> {
  const base = tinyModel("bert", { blocks: BLOCKS, dropout: 0.1 });
  const methodOnly = peft(base).use(method[0] as Method, method[1], { seed: 5 });
  const builder = plugin === undefined ? methodOnly : methodOnly.use(plugin[0] as TrainingPlugin, plugin[1]);
  const model = await builder.apply();
  const [losses, values, records]: [number[], Values[], { step: number }[]] = [[], [copyOf(model.trainable())], []];
  const trainer = new Trainer({
    ...{ model, engine, train: { batchesPerEpoch: 100, batchAt: (index) => batchAt("bert", index) } },
    config: { learningRate: 1e-2, schedule: "constant", warmupSteps: 0, maxSteps: STEPS, ...training },
    loggers: [
      {
        step: ({ loss }) => {
          losses.push(loss);
          values.push(copyOf(model.trainable()));
        },
        plugin: ({ record }) => void records.push(record),
      },
    ],
  });
  try {
    await trainer.train();
  } finally {
    await trainer.dispose();
  }
  return { model, losses, values, history: historyOf(records) };
}

/** Keys whose values differ. */
function changed(before: Values, after: Values): string[] {
  const same = (a: HostTensor, b: HostTensor | undefined): boolean => a.data.every((value, i) => value === b?.data[i]);
  return Object.keys(before).filter((key) => !same(before[key] as HostTensor, after[key]));
}

/** In every step, exactly what lies in its blocks and outside of all blocks changed. */
function expectOnlyChosen({ model, values, history }: Traced): void {
  const parameters = model.plugins.parameters();
  expect(parameters.filter(({ block }) => block === null).length).toBeGreaterThan(0);
  expect(history.selections).toHaveLength(STEPS);
  for (const [i, { blocks }] of history.selections.entries()) {
    const expected = parameters.filter(({ block }) => block === null || blocks.includes(block)).map(({ key }) => key);
    expect(changed(values[i] as Values, values[i + 1] as Values)).toEqual(expected);
  }
}

/** A plug-in that chooses what a run chose, and does nothing else. */
function again({ selections }: History): TrainingPlugin {
  return defineTrainingPlugin({
    ...{
      name: "again",
      description: "The choices of another run.",
      package: "@peftjs/ist",
      config: z.strictObject({}),
    },
    start: () => ({ choosesBlocks: true, beforeStep: (step) => ({ blocks: selections[step - 1]?.blocks }) }),
  });
}

const cases = [
  { name: "lora", method: [lora, { ...attention, rank: 2 }], plugin: ist },
  { name: "dora", method: [dora, { ...attention, rank: 2 }], plugin: ist },
  { name: "series", method: [series, { bottleneckSize: 3 }], plugin: ist },
  { name: "parallel", method: [parallel, { bottleneckSize: 3 }], plugin: ist },
  { name: "rocoft", method: [rocoft, { rank: 1 }], plugin: ist },
  { name: "lora", method: [lora, { ...attention, rank: 2 }], plugin: rst },
  { name: "full fine-tuning", method: [full, attention], plugin: rst },
] as const;

describe.each(["eager", "onnx"] as const)("training (%s)", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "eager" ? eagerEngine : compiledEngine);
  });

  it("compares candidates without changing anything but the choice of blocks", async () => {
    const training = { accumulationSteps: 2 };
    const compared = await traced({ engine, plugin: [ist, settings], training });
    expect(compared.history.updates).toHaveLength(2);
    for (const { losses, importance } of compared.history.updates) {
      expect(new Set(losses).size).toBe(3);
      expect(importance.some((score) => score !== 0)).toBe(true);
    }
    const replayed = await traced({ engine, plugin: [again(compared.history), {}], training });
    expect(replayed.losses).toEqual(compared.losses);
    expect(changed(replayed.values.at(-1) as Values, compared.values.at(-1) as Values)).toEqual([]);
  });

  it("is plain training, bit for bit, where all blocks learn", async () => {
    const plain = await traced({ engine });
    for (const candidates of [0, 3]) {
      const all = await traced({ engine, plugin: [ist, { ...settings, candidates, updateFraction: 1 }] });
      expect(all.losses).toEqual(plain.losses);
      expect(changed(all.values.at(-1) as Values, plain.values.at(-1) as Values)).toEqual([]);
    }
  });
});

// Compiling takes long; what methods compute is the same in both engines.
describe("training with each method", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(eagerEngine);
  });

  it.each(cases)("$name under $plugin.name: only the chosen blocks learn", async ({ method, plugin }) => {
    const trace = await traced({ engine, method, plugin: [plugin, plugin === ist ? settings : { seed: 7 }] });
    expectOnlyChosen(trace);
    expect(trace.history.updates).toHaveLength(plugin === ist ? 2 : 0);
    for (const { losses, applied } of trace.history.updates) {
      expect(applied).toBe(true);
      expect(new Set(losses).size).toBe(3);
    }
  });

  it("weakens what the method calls its response, or all that it adds", async () => {
    const lossesOf = async (method: readonly [unknown, object], response: string) => {
      const { history } = await traced({
        engine,
        method,
        plugin: [ist, { ...settings, response }],
        training: { maxSteps: 4 },
      });
      return history.updates[0]?.losses;
    };
    const [low, whole] = [await lossesOf([dora, attention], "method"), await lossesOf([dora, attention], "output")];
    expect(low).not.toEqual(whole);
    expect(await lossesOf([lora, attention], "output")).toEqual(await lossesOf([lora, attention], "method"));
  });
});
