import { peft } from "@peftjs/core";
import type { HostTensor, Method, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { compiledEngine } from "@peftjs/testkit";
import { batchAt, describeOnEngines, tinyModel } from "@peftjs/testkit/conformance";
import { attentionRates, Trainer } from "@peftjs/train";
import type { AttentionRatesConfig, StepEvent, TrainingConfigInput } from "@peftjs/train";
import { describe, expect, it } from "vitest";
import { adalora, dora, lora, loraplus } from "../src/index.ts";

const targets = { targetRoles: ["query", "key", "value"], rank: 2 };

/** Learning rates as multiples of the run's, by what follows the block in a parameter's key. */
async function rates(method: Method<never>, config: object, lambda: number): Promise<Readonly<Record<string, number>>> {
  const model = await peft(tinyModel("roberta"))
    .use(method, config as never)
    .use(attentionRates, { lambda })
    .apply();
  const entries = Object.keys(model.trainable()).map((key) => [
    key.replace(/^default\.(roberta\.encoder\.layer\.0\.attention\.self\.)?/u, ""),
    model.parameterGroup(key).lrScale ?? 1,
  ]);
  return Object.fromEntries(entries) as Readonly<Record<string, number>>;
}

describe("attention rates", () => {
  it("multiply with those of LoRA+: 64η for B of the values, 4η for their A, 16η for the other B", async () => {
    const found = await rates(loraplus as never, { ...targets, ratio: 16 }, 4);
    expect(found).toMatchObject({ "value.b": 64, "value.a": 4, "query.b": 16, "query.a": 1, "key.b": 16, "key.a": 1 });
  });

  it("hold for everything that a method has on a layer, and not for the head", async () => {
    expect(await rates(dora as never, targets, 4)).toMatchObject({
      ...{ "value.a": 4, "value.b": 4, "value.magnitude": 4, "query.magnitude": 1, "key.magnitude": 1 },
      ...{ "classifier.dense.bias": 1, "classifier.out_proj.weight": 1 },
    });
    const { rank: _, ...roles } = targets;
    const found = await rates(adalora as never, { ...roles, initRank: 3, targetRank: 2, totalSteps: 10 }, 4);
    const values = Object.entries(found).filter(([name]) => name.startsWith("value."));
    expect(values.map(([, rate]) => rate)).toEqual([4, 4, 4]);
  });
});

interface Run {
  readonly engine: Engine;
  readonly method?: Method<never>;
  readonly plugin?: Partial<AttentionRatesConfig>;
  readonly training?: TrainingConfigInput;
}

async function run({
  engine,
  method = lora as never,
  plugin,
  training = {},
}: Run): Promise<[number[], Named<HostTensor>]> {
  const builder = peft(tinyModel("roberta")).use(method, targets as never, { seed: 4 });
  const model: PeftModel = await (plugin === undefined ? builder : builder.use(attentionRates, plugin)).apply();
  const trainer = new Trainer({
    ...{ model, engine },
    train: { batchesPerEpoch: 8, batchAt: (index) => batchAt("roberta", index % 8) },
    config: { maxSteps: 4, learningRate: 5e-3, warmupSteps: 0, evalEvery: "never", weightDecay: 0.1, ...training },
  });
  const losses: number[] = [];
  trainer.on("step", ({ loss }: StepEvent) => void losses.push(loss));
  await trainer.train();
  await trainer.dispose();
  return [losses, model.trainable()];
}

describeOnEngines("a run with attention rates", (engine) => {
  it("is the plain one bit by bit with λ = 1, and another one with λ = 4", async () => {
    for (const method of [lora, dora] as unknown as Method<never>[]) {
      const plain = await run({ engine: engine(), method });
      expect(await run({ engine: engine(), method, plugin: { lambda: 1 } })).toEqual(plain);
      expect(await run({ engine: engine(), method, plugin: { lambda: 4 } })).not.toEqual(plain);
    }
  });

  it("moves values λ times as far in the first step, and the rest as far as ever", async () => {
    // B starts at zero, and the first step of AdamW is the learning rate's size.
    const options = { engine: engine(), training: { maxSteps: 1, maxGradNorm: null } };
    const [[, plain], [, faster]] = [await run(options), await run({ ...options, plugin: { lambda: 4 } })];
    for (const [key, { data }] of Object.entries(plain)) {
      const factor = key.endsWith(".value.b") ? 4 : 1;
      if (!/\.(query|value)\.b$|^default\.classifier/u.test(key)) continue;
      data.forEach((value, i) => expect(faster[key]!.data[i]! / (factor * value), key).toBeCloseTo(1, 5));
    }
  });
});

describe("a longer run with attention rates", () => {
  // Once: what differs between the engines is in the steps above.
  it.each([1, 2, 4, 8])("lowers the loss with λ = %i, and the head learns", async (lambda) => {
    const engine = await createEngine(compiledEngine);
    const start = await peft(tinyModel("roberta")).apply();
    const training = { maxSteps: 24, learningRate: 2e-3 };
    const mean = (losses: readonly number[]): number => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    for (const method of [lora, dora, loraplus] as unknown as Method<never>[]) {
      const [losses, trained] = await run({ engine, method, plugin: { lambda }, training });
      // The same eight batches, three times.
      expect(mean(losses.slice(-8)), method.name).toBeLessThan(mean(losses.slice(0, 8)));
      for (const [name, { data }] of start.base.parameters)
        if (name.startsWith("classifier.")) expect(trained[`default.${name}`]!.data, name).not.toEqual(data);
    }
  });
});
