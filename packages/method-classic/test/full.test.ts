import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAdapter, MethodRegistry, peft, saveAdapter } from "@peftjs/core";
import type { BaseModel, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { countParameters, roberta } from "@peftjs/models";
import { scratchFolders } from "@peftjs/testkit";
import {
  architectures,
  batchAt,
  countTrainable,
  describeMethod,
  logits,
  tinyModel,
  train,
} from "@peftjs/testkit/conformance";
import { beforeAll, describe, expect, it } from "vitest";
import { full } from "../src/index.ts";
import type { FullConfig } from "../src/index.ts";

const qv = { targetModules: ["query", "value"] } as const;
const qkv = { targetModules: ["query", "key", "value"] } as const;
const HEADS = { "RoBERTa-base": 592_130, "RoBERTa-large": 1_051_650, "LLaMA-7B": 0 };

describeMethod(full, {
  golden: new URL("golden/full-targeted.json", import.meta.url),
  counts: {},
  cases: [
    { name: "queries and values", config: qv },
    { name: "by role", config: { targetRoles: ["query", "value"] } },
    { name: "one block", config: { layersToTransform: [1] } },
  ],
});

describe("counts", () => {
  it.each([
    ["RoBERTa-base", qv, 14_174_208, 24],
    ["RoBERTa-base", qkv, 21_261_312, 36],
    ["RoBERTa-large", qv, 48 * (1024 * 1024 + 1024), 48],
    ["LLaMA-7B", { targetModules: ["q_proj", "v_proj"] }, 64 * 4096 * 4096, 64],
    ["RoBERTa-base", { layersToTransform: [0] }, 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768, 6],
    ["RoBERTa-base", { excludeModules: ["query"] }, 12 * (3 * 590_592 + 2 * 768 * 3072 + 3072 + 768), 60],
  ] as const)("%s %j without the head: %i", (name, config, parameters, targets) => {
    const count = countTrainable(full, config, architectures[name]);
    expect(count).toMatchObject({ targets, adapter: 0, trainable: parameters + HEADS[name] });
  });

  it("is the whole model when nothing is targeted, and the layers alone without modules to save", () => {
    const trainable = (config: Partial<FullConfig>) =>
      countTrainable(full, config, architectures["RoBERTa-base"]).trainable;
    expect(trainable({})).toBe(124_647_170);
    expect(trainable({ ...qv, modulesToSave: [] })).toBe(14_174_208);
  });

  it.each([
    [768, 2, 592_130],
    [768, 3, 592_899],
    [768, 1, 591_361],
    [1024, 2, 1_051_650],
  ])("the head of a model of width %i with %i outputs: %i", (hidden_size, outputs, expected) => {
    const json = { model_type: "roberta", vocab_size: 9, max_position_embeddings: 9, type_vocab_size: 1, hidden_size };
    const sizes = { num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 4 };
    const labels = Array.from({ length: outputs }, (_, i) => String(i));
    const all = roberta.parameters(roberta.parseConfig({ ...json, ...sizes }), {
      kind: "sequenceClassification",
      labels,
    });
    expect(countParameters(all.filter(({ name }) => name.startsWith("classifier.")))).toBe(expected);
  });
});

describe("targeted full fine-tuning", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ kind: "onnx", threads: 1 });
  });
  const fresh = scratchFolders();
  const methods = new MethodRegistry().use(full);
  const batch = batchAt("roberta", 0);
  const create = (config: Partial<FullConfig> = {}): Promise<PeftModel> =>
    peft(tinyModel("roberta")).use(full, config).apply();
  const output = async (model: PeftModel): Promise<number[]> => [...(await logits(model, { engine, batch })).data];

  /** Names of base parameters that another model has otherwise. */
  function changed(after: BaseModel): string[] {
    const before = tinyModel("roberta").parameters;
    return [...before].flatMap(([name, { data }]) =>
      data.every((value, i) => value === after.parameters.get(name)!.data[i]) ? [] : [name],
    );
  }

  it("trains weight and bias of the layers, and the head", async () => {
    const model = await create(qv);
    const chosen = [...model.base.parameters.keys()].filter((name) => /\.(query|value)\.|^classifier\./.test(name));
    expect(Object.keys(model.trainable()).sort()).toEqual(chosen.map((name) => `default.${name}`).sort());
    const parameters = model.plugins.parameters();
    expect(parameters.filter(({ site }) => site?.role === "value").map(({ base }) => base)).toEqual(
      chosen.filter((name) => name.includes(".value.")),
    );
    expect(parameters.filter(({ head }) => head)).toHaveLength(4);
    await train(model, { engine, family: "roberta", steps: 3 });
    expect(changed(model.mergeAndUnload()).sort()).toEqual(chosen.sort());
  });

  it("is kept in a file with its targets", async () => {
    const model = await create({ targetRoles: ["query", "value"], layersToTransform: [1] });
    await train(model, { engine, family: "roberta", steps: 2 });
    const dir = await saveAdapter(model, { dir: fresh() });
    const json = JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as object;
    expect(json).toMatchObject({ peft_type: "FULL", target_modules: ["query", "value"], layers_to_transform: [1] });
    const other = await peft(tinyModel("roberta")).apply();
    await loadAdapter(other, { dir, methods });
    other.setActive("default", { trainable: ["default"] });
    expect(await output(other)).toEqual(await output(model));
    expect(Object.keys(other.trainable())).toEqual(Object.keys(model.trainable()));
  });

  it("without a target is what it was, in files too", async () => {
    const model = await create();
    expect(Object.keys(model.trainable())).toHaveLength(model.base.parameters.size);
    const adapter = model.adapters.get("default")!;
    expect([adapter.layers, adapter.modulesToSave]).toEqual([[], []]);
    expect(new Set([...adapter.overrides.values()].map(({ kind }) => kind))).toEqual(new Set(["trained"]));
    const dir = await saveAdapter(model, { dir: fresh() });
    const json = JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as object;
    const keys = ["auto_mapping", "base_model_name_or_path", "inference_mode", "modules_to_save", "peft_type"];
    expect(Object.keys(json)).toEqual([...keys, "revision", "task_type"]);
    const { adapter: loaded } = await loadAdapter(model, { dir, adapterName: "again", methods });
    expect([loaded.layers, loaded.modulesToSave, loaded.config]).toEqual([[], [], adapter.config]);
  });

  it("refuses two choices at once, and one that names nothing", async () => {
    await expect(create({ ...qv, targetRoles: ["query"] })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(create({ targetModules: ["querry"] })).rejects.toMatchObject({ code: "TARGET_NOT_FOUND" });
  });
});
