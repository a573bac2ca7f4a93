import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { cloneTensor, loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import { combineAdapters, hotSwapAdapter } from "@peftjs/core";
import type { HostTensor, Method } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromConfig, fromPretrained } from "@peftjs/models";
import { compiledEngine, scratchFolders } from "@peftjs/testkit";
import {
  describeReference,
  expectSameFiles,
  expectSameStart,
  loadReference,
  logits,
  readAdapterConfig,
  readAdapterTensors,
  readTensors,
  referenceBatch,
  relativeDifference,
} from "@peftjs/testkit/conformance";
import { beforeAll, describe, expect, it } from "vitest";
import { lora, loraplus, rslora } from "../src/index.ts";
import type { LoraConfig } from "../src/index.ts";

/** Written by fixtures/lora/make.py with the Python libraries. */
const fixtures = fileURLToPath(new URL("../../../fixtures/lora", import.meta.url));
const cases = ["roberta", "bert-patterns", "roberta-embedding"] as const;
type Case = (typeof cases)[number];
const methods = new MethodRegistry().use(lora);
const fresh = scratchFolders();

describeReference(lora, { folders: cases.map((name) => pathToFileURL(join(fixtures, name))) });

interface Loaded {
  readonly model: PeftModel;
  readonly values: Map<string, HostTensor>;
}

async function load(name: Case, stage: "fresh" | "start" | "final"): Promise<Loaded> {
  const folder = join(fixtures, name);
  const model = await loadReference({ folder }, { method: lora, stage });
  return { model, values: await readTensors(join(folder, "values.safetensors")) };
}

/** Logits of the first batch. */
async function output({ model, values }: Loaded, { training = false } = {}): Promise<ArrayLike<number>> {
  return (await logits(model, { engine, batch: referenceBatch({ values }, 0), training })).data;
}

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine(compiledEngine);
});

describe("files", () => {
  it.each(cases)("%s: saved again, the tensors and settings are those that Python wrote", async (name) => {
    const { model } = await load(name, "final");
    await expectSameFiles(await saveAdapter(model, { dir: fresh() }), join(fixtures, name, "final"));
  });

  it.each(cases)("%s: the same seed draws the adapter that torch draws", async (name) => {
    const reference = (await load(name, "fresh")).model.adapters.get("default")!;
    const model = await peft(await fromPretrained(join(fixtures, name, "base")))
      .use(lora, reference.config as LoraConfig, { seed: 11 })
      .apply();
    expectSameStart(model.adapters.get("default")!.params, reference.params);
  });

  it("dropout acts on the input of A alone", async () => {
    const run = async (stage: "fresh" | "start", training: boolean): Promise<ArrayLike<number>> => {
      const { model, values } = await load("roberta", stage);
      const config = model.adapters.get("default")!.config as LoraConfig;
      const dropping = await peft(model.base)
        .use(lora, { ...config, dropout: 0.5 })
        .apply();
      dropping.setTrainable(model.trainable());
      return output({ model: dropping, values }, { training });
    };
    const { values } = await load("roberta", "start");
    expect(relativeDifference(await run("fresh", true), values.get("logits.base")!.data)).toBeLessThan(1e-5);
    expect(relativeDifference(await run("start", false), values.get("logits.start")!.data)).toBeLessThan(1e-5);
    expect(relativeDifference(await run("start", true), values.get("logits.start")!.data)).toBeGreaterThan(1e-3);
  });
});

describe("several adapters", () => {
  /** "default" as `start` says, and "second" as `final` says. */
  async function loadTwo(name: Case): Promise<Loaded> {
    const loaded = await load(name, "start");
    await loadAdapter(loaded.model, { dir: join(fixtures, name, "final"), methods, adapterName: "second" });
    // One head for both: heads are no sum.
    const [first, second] = ["default", "second"].map((each) => loaded.model.adapters.get(each)!);
    for (const [key, override] of first!.overrides) second!.overrides.set(key, override);
    return loaded;
  }

  it("at once add their updates", async () => {
    const { model, values } = await loadTwo("roberta");
    // The same update twice, halved: as once.
    const [first, second] = ["default", "second"].map((each) => model.adapters.get(each)!);
    for (const [key, tensor] of first!.params) {
      const copy = cloneTensor(tensor);
      if (key.endsWith(".b")) copy.data.forEach((value, i) => (copy.data[i] = value / 2));
      first!.params.set(key, copy);
      second!.params.set(key, copy);
    }
    model.setActive(["default", "second"]);
    const both = await output({ model, values });
    expect(relativeDifference(both, values.get("logits.start")!.data)).toBeLessThan(1e-5);
  });

  it("combined into one do what they do together", async () => {
    const { model, values } = await loadTwo("roberta");
    const adapters = ["default", "second"];
    model.setActive(adapters);
    const together = await output({ model, values });
    await combineAdapters(model, { adapters, weights: [1, 1], name: "sum" });
    await combineAdapters(model, { adapters, weights: [1, 1], name: "svd", type: "svd", svdRank: 8 });
    for (const combined of ["sum", "svd"]) {
      model.setActive(combined);
      expect(relativeDifference(await output({ model, values }), together), combined).toBeLessThan(1e-5);
    }
    await combineAdapters(model, { adapters, weights: [2, -1], name: "beyond" });
    model.setActive("beyond");
    expect(relativeDifference(await output({ model, values }), together)).toBeGreaterThan(1e-3);
  });

  it.each(cases)("%s: 1.5 of one less 0.5 of its copy is the one", async (name) => {
    const { model, values } = await load(name, "start");
    await loadAdapter(model, { dir: join(fixtures, name, "start"), methods, adapterName: "copy" });
    const adapters = ["default", "copy"];
    await combineAdapters(model, { adapters, weights: [1.5, -0.5], name: "one" });
    model.setActive("one");
    const one = await output({ model, values });
    expect(relativeDifference(one, values.get("logits.start")!.data)).toBeLessThan(1e-5);
  });

  it.each(cases)("%s: hot-swapped into one of higher rank and another scale, it does the same", async (name) => {
    const { model: source, values } = await load(name, "start");
    const config = source.adapters.get("default")!.config as LoraConfig;
    const other = { ...config, rank: 6, alpha: 5, useRslora: !config.useRslora, rankPattern: {}, alphaPattern: {} };
    const model = await peft(source.base).use(lora, other).apply();
    const { structure } = model;
    const before = await output({ model, values });
    await hotSwapAdapter(model, { dir: join(fixtures, name, "start"), methods });
    expect(model.structure).toBe(structure);
    const after = await output({ model, values });
    expect(relativeDifference(after, values.get("logits.start")!.data)).toBeLessThan(1e-5);
    expect(relativeDifference(before, after)).toBeGreaterThan(1e-3);
  });
});

describe.each([rslora, loraplus] as unknown as Method[])(
  "an adapter of $name and a file that is read as LoRA",
  (other) => {
    const attach = async (): Promise<Loaded> => {
      const { model: source, values } = await load("roberta", "start");
      const { rank, targetModules, modulesToSave } = source.adapters.get("default")!.config as LoraConfig;
      return { model: await peft(source.base).use(other, { rank, targetModules, modulesToSave }).apply(), values };
    };
    const dir = join(fixtures, "roberta", "start");

    it("swap", async () => {
      const { model, values } = await attach();
      await hotSwapAdapter(model, { dir, methods });
      expect(model.adapters.get("default")!.method).toBe(other);
      const swapped = await output({ model, values });
      expect(relativeDifference(swapped, values.get("logits.start")!.data)).toBeLessThan(1e-5);
    });

    it("combine", async () => {
      const { model, values } = await attach();
      await loadAdapter(model, { dir, methods, adapterName: "read" });
      const adapters = ["default", "read"];
      await combineAdapters(model, { adapters, weights: [0, 1], name: "both", modulesFrom: "read" });
      model.setActive("both");
      const combined = await output({ model, values });
      expect(relativeDifference(combined, values.get("logits.start")!.data)).toBeLessThan(1e-5);
    });
  },
);

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
    const dir = await saveAdapter(model, { dir: fresh() });
    const [ours, theirs] = await Promise.all([dir, published].map(readAdapterTensors));
    expect(new Map([...ours!].sort())).toEqual(new Map([...theirs!].sort()));
    expect(readAdapterConfig(dir)).toEqual(readAdapterConfig(published));
  });
});
