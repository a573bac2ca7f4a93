import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGenerator, loadAdapter, MethodRegistry, peft, saveAdapter, zeros } from "@peftjs/core";
import type { LayerSite, ParameterGroup, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { loadReference, readReference, readTensors, referenceBatch } from "@peftjs/testkit/conformance";
import { Trainer } from "@peftjs/train";
import type { ParameterGroupRule } from "@peftjs/train";
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
  const local = key.slice("default.".length);
  const short = local.slice(local.lastIndexOf(".") + 1);
  const names = [
    local.slice(0, -short.length) + (lora.wire.tensors[short] ?? short),
    local.replace(/\.bias$/, ".base_layer.bias"),
    local.replace(/^classifier\./, "classifier.modules_to_save."),
  ];
  return fixture.groups[names.map((name) => `base_model.model.${name}`).find((name) => name in fixture.groups)!]!;
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

async function train(
  model: PeftModel,
  options: { readonly kind: typeof compiledEngine | typeof eagerEngine; readonly rule?: ParameterGroupRule },
) {
  const losses: number[] = [];
  const trainer = new Trainer({
    model,
    engine: await createEngine(options.kind),
    train: { batchesPerEpoch: fixture.losses.length, batchAt: (index) => referenceBatch(reference, index) },
    config: {
      ...{ epochs: 1, learningRate: settings.lr, schedule: "constant", warmupSteps: 0, maxGradNorm: null },
      ...{ weightDecay: settings.loraplus_weight_decay, evalEvery: "never" },
    },
    loggers: [{ step: ({ loss }) => void losses.push(loss) }],
    ...(options.rule === undefined ? {} : { paramGroups: options.rule }),
  });
  await trainer.train();
  await trainer.dispose();
  return losses;
}

describe.each([
  ["compiled", compiledEngine],
  ["eager", eagerEngine],
] as const)("training, %s", (_, kind) => {
  it("follows the losses of Python's LoRA+ for 20 steps, and plain LoRA does not", async () => {
    const load = () => loadReference(reference, { method: lora, stage: "start" });
    const losses = await train(await load(), { kind, rule });
    const errors = (values: readonly number[]) =>
      values.map((loss, step) => Math.abs(loss / fixture.losses[step]! - 1));
    errors(losses).forEach((error, step) => expect(error, `loss of step ${step}`).toBeLessThan(1e-4));
    expect(Math.max(...errors(await train(await load(), { kind })))).toBeGreaterThan(1e-2);
  });
});

describe("loraplus", () => {
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
    const dir = mkdtempSync(join(tmpdir(), "peftjs-loraplus-"));
    try {
      const model = await create();
      await saveAdapter(model, { dir });
      const json = readFileSync(join(dir, "adapter_config.json"), "utf8");
      expect(json).not.toMatch(/ratio|learning/i);
      const { adapter } = await loadAdapter(model, {
        dir,
        adapterName: "again",
        methods: new MethodRegistry().use(lora),
      });
      for (const [key, tensor] of model.adapters.get("default")!.params)
        expect(adapter.params.get(key)).toEqual(tensor);
      expect((await readTensors(join(dir, "adapter_model.safetensors"))).size).toBeGreaterThan(6);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it("draws what LoRA draws", () => {
    const site: LayerSite = {
      ...{ path: "layer", kind: "linear", role: "query", block: null, inFeatures: 6, outFeatures: 4 },
      ...{ layout: "out_in", weight: "layer.weight", bias: null },
    };
    const context = { site, bias: null, calibration: undefined, weight: zeros([4, 6]) };
    const own = loraplus.init!({ ...context, config: loraplus.config.parse({}), generator: createGenerator(5) });
    const plain = lora.init!({ ...context, config: lora.config.parse({}), generator: createGenerator(5) });
    expect(own).toEqual(plain);
  });
});
