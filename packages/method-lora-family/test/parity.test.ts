import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cloneTensor, loadAdapter, MethodRegistry, openSafetensors, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromConfig, fromPretrained } from "@peftjs/models";
import { Trainer } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";
import type { LoraConfig } from "../src/index.ts";

/** Written by fixtures/lora/make.py with the Python libraries. */
const fixtures = fileURLToPath(new URL("../../../fixtures/lora", import.meta.url));
const cases = ["roberta", "bert-patterns", "roberta-embedding"] as const;
type Case = (typeof cases)[number];
const STEPS = 20;
const methods = new MethodRegistry().use(lora);

async function readTensors(path: string): Promise<Map<string, HostTensor>> {
  const file = await openSafetensors(path);
  try {
    const entries = await Promise.all(file.names.map(async (name) => [name, await file.tensor(name)] as const));
    return new Map(entries);
  } finally {
    await file.close();
  }
}

/** Batch `index` of the fixture's [steps, …] tensors. */
function batchAt(values: Map<string, HostTensor>, index: number): Named<HostTensor> {
  const one = (name: string): HostTensor => {
    const all = values.get(`batch.${name}`)!;
    const size = all.data.length / all.shape[0]!;
    return {
      dtype: "int32",
      shape: all.shape.slice(1),
      data: Int32Array.from(all.data.subarray(index * size, (index + 1) * size)),
    };
  };
  return { input_ids: one("input_ids"), attention_mask: one("attention_mask"), labels: one("labels") };
}

/** Name that Python gives a parameter that learns, from ours without the adapter's name. */
function pythonName(key: string, values: Map<string, HostTensor>): string {
  const wire = key.replace(
    /\.(a|b|biasB|embeddingA|embeddingB)$/,
    (_, short: string) => `.${lora.wire.tensors[short]!}`,
  );
  const spellings = [
    wire,
    key,
    key.replace(/\.bias$/, ".base_layer.bias"),
    key.replace(/^classifier\./, "classifier.modules_to_save."),
  ];
  const found = spellings.map((name) => `gradient.base_model.model.${name}`).find((name) => values.has(name));
  if (found === undefined) throw new Error(`Python trains nothing like ${key}`);
  return found;
}

/** Largest difference in units of the largest expected magnitude. */
function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let largest = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    expect(Number.isFinite(actual[i])).toBe(true);
    largest = Math.max(largest, Math.abs(actual[i]! - expected[i]!));
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return largest / scale;
}

async function load(
  name: Case,
  stage: "fresh" | "start" | "final",
): Promise<{ model: PeftModel; values: Map<string, HostTensor> }> {
  const model = new PeftModel(await fromPretrained(join(fixtures, name, "base")));
  await loadAdapter(model, { dir: join(fixtures, name, stage), methods });
  return { model, values: await readTensors(join(fixtures, name, "values.safetensors")) };
}

async function logits(model: PeftModel, engine: Engine, batch: Named<HostTensor>): Promise<ArrayLike<number>> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch = {} }) => {
    const outputs = model.forward({ frozen, trainable }, batch, { training: false });
    return { results: { logits: outputs["logits"]! } };
  });
  const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
  await program.dispose();
  return results!["logits"]!.data;
}

async function gradients(model: PeftModel, engine: Engine, batch: Named<HostTensor>): Promise<Named<HostTensor>> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch = {} }) => {
    const names = Object.keys(trainable);
    const loss = (...parts: tf.Tensor[]) =>
      model.loss({ frozen, trainable: Object.fromEntries(names.map((name, i) => [name, parts[i]!])) }, batch, {
        training: true,
      });
    const parts = tf.grads(loss)(Object.values(trainable));
    return { gradients: Object.fromEntries(names.map((name, i) => [name, parts[i]!])) };
  });
  const result = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
  await program.dispose();
  return result["gradients"]!;
}

describe.each(["onnx", "eager"] as const)("with the %s engine", (kind) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(kind === "onnx" ? { kind, threads: 1 } : { kind, backend: "cpu" });
  });

  describe.each(cases)("%s", (name) => {
    it("gives Python's logits, unmerged, merged and switched off", async () => {
      const { model, values } = await load(name, "start");
      const batch = batchAt(values, 0);
      expect(difference(await logits(model, engine, batch), values.get("logits.start")!.data)).toBeLessThan(1e-5);
      model.merge();
      expect(difference(await logits(model, engine, batch), values.get("logits.start")!.data)).toBeLessThan(1e-5);
      model.unmerge();
      const off = await model.disable(() => logits(model, engine, batch));
      expect(difference(off, values.get("logits.base")!.data)).toBeLessThan(1e-5);
      expect(difference(values.get("logits.start")!.data, values.get("logits.base")!.data)).toBeGreaterThan(1e-2);
    });

    it("gives Python's gradients", async () => {
      const { model, values } = await load(name, "start");
      const actual = await gradients(model, engine, batchAt(values, 0));
      const expected = [...values.keys()].filter((key) => key.startsWith("gradient."));
      expect(Object.keys(actual)).toHaveLength(expected.length);
      for (const [key, gradient] of Object.entries(actual)) {
        const reference = values.get(pythonName(key.slice("default.".length), values))!;
        const largest = Math.max(...reference.data.map(Math.abs));
        // Softmax ignores what is the same for every key, so that a key bias has no gradient but rounding.
        if (largest < 1e-7) expect(Math.max(...gradient.data.map(Math.abs)), key).toBeLessThan(1e-6);
        else expect(difference(gradient.data, reference.data), key).toBeLessThan(1e-5);
      }
    });

    it("follows Python's loss for 20 steps and ends at the same adapter", async () => {
      const { model, values } = await load(name, "start");
      const losses: number[] = [];
      const trainer = new Trainer({
        model,
        engine,
        train: { batchesPerEpoch: STEPS, batchAt: (index) => batchAt(values, index) },
        config: {
          epochs: 1,
          learningRate: 5e-3,
          schedule: "constant",
          warmupSteps: 0,
          weightDecay: 0,
          maxGradNorm: null,
          evalEvery: "never",
        },
        loggers: [{ step: ({ loss }) => losses.push(loss) }],
      });
      await trainer.train();
      await trainer.dispose();
      const reference = (JSON.parse(readFileSync(join(fixtures, name, "losses.json"), "utf8")) as { losses: number[] })
        .losses;
      expect(losses).toHaveLength(STEPS);
      losses.forEach((loss, step) => {
        expect(Math.abs(loss - reference[step]!), `loss of step ${step}`).toBeLessThan(1e-4);
      });
      expect(
        difference(await logits(model, engine, batchAt(values, 0)), values.get("logits.final")!.data),
      ).toBeLessThan(1e-3);
      const { model: final } = await load(name, "final");
      expect(
        difference(await logits(final, engine, batchAt(values, 0)), values.get("logits.final")!.data),
      ).toBeLessThan(1e-5);
    });
  });
});

describe("files", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "peftjs-lora-"));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(cases)("%s: saved again, the tensors and settings are those that Python wrote", async (name) => {
    const { model } = await load(name, "final");
    const dir = join(folder, name);
    await saveAdapter(model, { dir });
    const [ours, theirs] = await Promise.all(
      [dir, join(fixtures, name, "final")].map((path) => readTensors(join(path, "adapter_model.safetensors"))),
    );
    // With bias: "all" Python also writes copies of the head's biases under names that no reader needs.
    const needed = [...theirs!.keys()].filter((key) => !/\.(original_module|modules_to_save)\./.test(key));
    expect([...ours!.keys()].sort()).toEqual(needed.sort());
    for (const key of needed) expect(ours!.get(key), key).toEqual(theirs!.get(key));
    const [own, reference] = [dir, join(fixtures, name, "final")].map(
      (path) => JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8")) as Record<string, unknown>,
    );
    for (const json of [own!, reference!]) {
      json["target_modules"] = [...(json["target_modules"] as string[])].sort();
    }
    expect(own).toEqual({ ...reference, base_model_name_or_path: own!["base_model_name_or_path"] });
  });

  it.each(cases)("%s: the same seed draws the adapter that torch draws", async (name) => {
    const { model: reference } = await load(name, "fresh");
    const { config } = reference.adapters.get("default")!;
    const model = await peft(await fromPretrained(join(fixtures, name, "base")))
      .use(lora, config as LoraConfig, { seed: 11 })
      .apply();
    for (const [key, tensor] of model.adapters.get("default")!.params) {
      const expected = reference.adapters.get("default")!.params.get(key)!;
      expect(tensor.shape).toEqual(expected.shape);
      if (expected.data.some((value) => value !== 0))
        expect(difference(tensor.data, expected.data), key).toBeLessThan(1e-6);
      else
        expect(
          tensor.data.every((value) => value === 0),
          key,
        ).toBe(true);
    }
  });

  it("dropout acts on the input of A alone", async () => {
    const engine = await createEngine({ kind: "onnx", threads: 1 });
    const run = async (stage: "fresh" | "start", training: boolean): Promise<ArrayLike<number>> => {
      const { model, values } = await load("roberta", stage);
      const { config } = model.adapters.get("default")!;
      const dropping = await peft(model.base)
        .use(lora, { ...(config as LoraConfig), dropout: 0.5 })
        .apply();
      dropping.setTrainable(model.trainable());
      const program = engine.compile(({ frozen = {}, trainable = {}, batch = {}, scalars = {} }) => ({
        results: {
          logits: dropping.forward({ frozen, trainable }, batch, { training, key: scalars["key"] as tf.Tensor1D })[
            "logits"
          ]!,
        },
      }));
      const scalars = { key: { dtype: "int32", shape: [2], data: Int32Array.of(1, 2) } } as const;
      const { results } = await program.run({
        frozen: dropping.frozen(),
        trainable: dropping.trainable(),
        batch: batchAt(values, 0),
        scalars,
      });
      await program.dispose();
      return results!["logits"]!.data;
    };
    const { values } = await load("roberta", "start");
    expect(difference(await run("fresh", true), values.get("logits.base")!.data)).toBeLessThan(1e-5);
    expect(difference(await run("start", false), values.get("logits.start")!.data)).toBeLessThan(1e-5);
    expect(difference(await run("start", true), values.get("logits.start")!.data)).toBeGreaterThan(1e-3);
  });

  it("two adapters at once add their updates", async () => {
    const { model, values } = await load("roberta", "start");
    const engine = await createEngine({ kind: "onnx", threads: 1 });
    const batch = batchAt(values, 0);
    const { adapter } = await loadAdapter(model, {
      dir: join(fixtures, "roberta", "final"),
      methods,
      adapterName: "second",
    });
    // The same update twice, halved: as once.
    for (const [key, tensor] of model.adapters.get("default")!.params) {
      const copy = cloneTensor(tensor);
      if (key.endsWith(".b")) copy.data.forEach((value, i) => (copy.data[i] = value / 2));
      model.adapters.get("default")!.params.set(key, copy);
      adapter.params.set(key, copy);
    }
    for (const [key, override] of model.adapters.get("default")!.overrides) adapter.overrides.set(key, override);
    model.setActive(["default", "second"]);
    expect(difference(await logits(model, engine, batch), values.get("logits.start")!.data)).toBeLessThan(1e-5);
  });
});

/** A real adapter of a BERT-base classifier, beside the checkout where it is there. */
const published = fileURLToPath(new URL("../../../../shared/data/adapters/bert-base-lora", import.meta.url));

describe.skipIf(!existsSync(published))("an adapter published by somebody else", () => {
  it("loads, and saved again holds the same tensors and settings", async () => {
    const base = fromConfig(
      {
        ...{ model_type: "bert", vocab_size: 40, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12 },
        ...{ intermediate_size: 16, max_position_embeddings: 16, type_vocab_size: 2, pad_token_id: 0 },
      },
      { numLabels: 2 },
    );
    const model = new PeftModel(base);
    const report = await loadAdapter(model, { dir: published, methods });
    expect([...report.missing, ...report.unexpected]).toEqual([]);
    expect(model.trainableReport().trainable).toBe(296_450);
    expect(report.adapter.config).toMatchObject({ rank: 8, alpha: 32, targetModules: ["query", "value"] });
    const dir = mkdtempSync(join(tmpdir(), "peftjs-lora-"));
    try {
      await saveAdapter(model, { dir });
      const [ours, theirs] = await Promise.all(
        [dir, published].map((path) => readTensors(join(path, "adapter_model.safetensors"))),
      );
      expect(new Map([...ours!].sort())).toEqual(new Map([...theirs!].sort()));
      const [own, reference] = [dir, published].map(
        (path) => JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8")) as object,
      );
      expect(own).toEqual(reference);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
