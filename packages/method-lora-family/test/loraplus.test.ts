import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createGenerator, loadAdapter, MethodRegistry, peft, saveAdapter, zeros } from "@peftjs/core";
import type { Method, ParameterGroup } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { linearSite, scratchFolders } from "@peftjs/testkit";
import {
  describeOnEngines,
  loadReference,
  pythonName,
  readAdapterTensors,
  readReference,
  trainLike,
} from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { lora, loraplus, loraPlus } from "../src/index.ts";

/** Written by fixtures/lora/make.py: losses with create_loraplus_optimizer, and the rate and decay of every parameter. */
const fixture = JSON.parse(readFileSync(new URL("../../../fixtures/lora/loraplus.json", import.meta.url), "utf8")) as {
  readonly settings: Readonly<
    Record<"lr" | "loraplus_lr_ratio" | "loraplus_lr_embedding" | "loraplus_weight_decay", number>
  >;
  readonly groups: Readonly<Record<string, { readonly lr: number; readonly weightDecay: number }>>;
  readonly losses: readonly number[];
};
const { settings } = fixture;
const rates = { ratio: settings.loraplus_lr_ratio, embeddingLearningRate: settings.loraplus_lr_embedding };
const rule = loraPlus({ ...rates, weightDecay: settings.loraplus_weight_decay });
const reference = await readReference(new URL("../../../fixtures/lora/roberta-embedding", import.meta.url));

/** Python's group of one of our parameters. */
function pythonGroup(key: string): { readonly lr: number; readonly weightDecay: number } {
  return fixture.groups[pythonName(lora as unknown as Method, key, Object.keys(fixture.groups))]!;
}

const rateOf = ({ lrScale = 1, learningRate = settings.lr }: ParameterGroup): number => lrScale * learningRate;

describe("loraPlus", () => {
  it("groups every parameter as the Python library does", async () => {
    const model = await loadReference(reference, { method: lora, stage: "start" });
    const parameters = Object.entries(model.trainable());
    expect(parameters).toHaveLength(Object.keys(fixture.groups).length);
    for (const [name, { shape }] of parameters) {
      const group = rule({ name, shape });
      expect(rateOf(group), name).toBeCloseTo(pythonGroup(name).lr, 12);
      expect(group.weightDecay, name).toBe(pythonGroup(name).weightDecay);
    }
  });

  it("leaves the run's decay where it says nothing of it", () => {
    const plain = loraPlus();
    expect(plain({ name: "default.query.a", shape: [4, 8] })).toEqual({});
    expect(plain({ name: "default.query.b", shape: [8, 4] })).toEqual({ lrScale: 16 });
    expect(plain({ name: "default.query.biasB", shape: [8] })).toEqual({ lrScale: 16, weightDecay: 0 });
    expect(plain({ name: "default.query.magnitude", shape: [8] })).toEqual({ lrScale: 16 });
    expect(plain({ name: "default.words.embeddingB", shape: [8, 4] })).toEqual({ learningRate: 1e-6 });
  });
});

describeOnEngines("training", (engine) => {
  it("follows the losses of Python's LoRA+ for 20 steps, and plain LoRA does not", async () => {
    const training = { learningRate: settings.lr, weightDecay: settings.loraplus_weight_decay };
    const errors = async (groups: { readonly paramGroups?: typeof rule }): Promise<number[]> => {
      const model = await loadReference(reference, { method: lora, stage: "start" });
      const losses = await trainLike(reference, { model, engine: engine(), training, ...groups });
      expect(losses).toHaveLength(fixture.losses.length);
      return losses.map((loss, step) => Math.abs(loss / fixture.losses[step]! - 1));
    };
    const own = await errors({ paramGroups: rule });
    own.forEach((error, step) => expect(error, `loss of step ${step}`).toBeLessThan(1e-4));
    expect(Math.max(...(await errors({})))).toBeGreaterThan(1e-2);
  });
});

describe("loraplus", () => {
  const fresh = scratchFolders();
  const config = { rank: 2, targetModules: ["word_embeddings", "query"], ...rates };
  const create = async () =>
    peft(await fromPretrained(join(reference.folder, "base")))
      .use(loraplus, config, { seed: 1 })
      .apply();

  it("gives its factors the rates that the rule gives them", async () => {
    const model = await create();
    const factors = Object.entries(model.trainable()).filter(([name]) => /\.(a|b|embeddingA|embeddingB)$/.test(name));
    expect(factors).toHaveLength(6);
    for (const [name] of factors)
      expect(rateOf(model.parameterGroup(name)), name).toBeCloseTo(pythonGroup(name).lr, 12);
  });

  it("is LoRA in its file", async () => {
    const model = await create();
    const dir = await saveAdapter(model, { dir: fresh() });
    expect(readFileSync(join(dir, "adapter_config.json"), "utf8")).not.toMatch(/ratio|learning/i);
    const methods = new MethodRegistry().use(lora);
    const { adapter } = await loadAdapter(model, { dir, adapterName: "again", methods });
    for (const [key, tensor] of model.adapters.get("default")!.params) expect(adapter.params.get(key)).toEqual(tensor);
    expect((await readAdapterTensors(dir)).size).toBeGreaterThan(6);
  });

  it("draws what LoRA draws", () => {
    const site = linearSite({ inFeatures: 6, outFeatures: 4 });
    const context = { site, bias: null, calibration: undefined, weight: zeros([4, 6]) };
    const own = loraplus.init!({ ...context, config: loraplus.config.parse({}), generator: createGenerator(5) });
    const plain = lora.init!({ ...context, config: lora.config.parse({}), generator: createGenerator(5) });
    expect(own).toEqual(plain);
  });
});
