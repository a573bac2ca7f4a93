import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { combineAdapters, loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromConfig, fromPretrained } from "@peftjs/models";
import { compiledEngine, installMatchers, scratchFolders, tol } from "@peftjs/testkit";
import {
  describeReference,
  expectSameFiles,
  loadReference,
  logits,
  readAdapterConfig,
  readAdapterTensors,
  readTensors,
  referenceBatch,
  relativeDifference,
} from "@peftjs/testkit/conformance";
import { beforeAll, describe, expect, it } from "vitest";
import { ia3 } from "../src/index.ts";
import type { Ia3Config } from "../src/index.ts";

installMatchers();

/** Written by fixtures/ia3/make.py with the Python libraries. */
const fixtures = new URL("../../../fixtures/ia3/", import.meta.url);
const folderOf = (name: string): string => fileURLToPath(new URL(name, fixtures));
const cases = ["roberta", "bert", "roberta-paper"] as const;
const methods = new MethodRegistry().use(ia3);
const fresh = scratchFolders();

const deep = {
  ...{ model_type: "bert", vocab_size: 20, hidden_size: 8, num_hidden_layers: 12, num_attention_heads: 2 },
  ...{ intermediate_size: 12, max_position_embeddings: 8, initializer_range: 0.2 },
};
const paths = Array.from({ length: 12 }, (_, block) =>
  ["attention.self.value", "output.dense"].map((layer) => `bert.encoder.layer.${block}.${layer}`),
).flat();

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine(compiledEngine);
});

describeReference(ia3, { folders: cases.map((name) => new URL(name, fixtures)) });

describe("files", () => {
  it.each(cases)("%s: saved again, the tensors and settings are those that Python wrote", async (name) => {
    const model = await loadReference({ folder: folderOf(name) }, { method: ia3, stage: "final" });
    await expectSameFiles(await saveAdapter(model, { dir: fresh() }), folderOf(`${name}/final`));
  });

  it.each(cases)("%s: a fresh adapter is Python's", async (name) => {
    const reference = await loadReference({ folder: folderOf(name) }, { method: ia3, stage: "fresh" });
    const placement = name === "roberta-paper" ? "paper" : "library";
    const model = await peft(await fromPretrained(folderOf(`${name}/base`)))
      .use(ia3, { placement })
      .apply();
    const [ours, theirs] = [model, reference].map((each) => each.adapters.get("default")!.params);
    expect([...ours!.keys()].sort()).toEqual([...theirs!.keys()].sort());
    for (const [key, tensor] of theirs!) expect(ours!.get(key), key).toEqual(tensor);
  });

  it("without feedforward_modules the input of the library's default layers is scaled", async () => {
    const dir = fresh();
    cpSync(folderOf("bert/start"), dir, { recursive: true });
    const { feedforward_modules: _, ...json } = readAdapterConfig(dir);
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(json));
    const model = new PeftModel(await fromPretrained(folderOf("bert/base")));
    const { adapter } = await loadAdapter(model, { dir, methods });
    expect((adapter.config as Ia3Config).feedforwardModules).toEqual(["output.dense"]);
    const values = await readTensors(folderOf("bert/values.safetensors"));
    expect(relativeDifference(await output(model, values), values.get("logits.start")!.data)).toBeLessThan(1e-5);
  });

  it.each([
    ["the paper's placement", { placement: "paper" }],
    ["many paths", { targetModules: paths, feedforwardModules: paths.filter((path) => path.endsWith("output.dense")) }],
    ["all linear layers", { targetModules: "all-linear" }],
  ] as const)("of a deep model, %s: loads as it was saved", async (_, config) => {
    const base = fromConfig(deep, { numLabels: 2, seed: 1 });
    const model = await peft(base)
      .use(ia3, { ...config, initIa3Weights: false }, { seed: 3 })
      .apply();
    const dir = await saveAdapter(model, { dir: fresh() });
    const again = new PeftModel(base);
    const { adapter } = await loadAdapter(again, { dir, methods });
    expect(adapter.params).toEqual(model.adapters.get("default")!.params);
    // Python refuses names of inner layers that are not among those of the targets.
    const json = readAdapterConfig(dir);
    expect((json["target_modules"] as string[]).length).toBeLessThan(20);
    expect(json["feedforward_modules"]).toBeTypeOf("string");
  });

  it("the paper's placement is written such that readers of names alone find it", async () => {
    const values = await readTensors(folderOf("roberta-paper/values.safetensors"));
    const reference = await loadReference({ folder: folderOf("roberta-paper") }, { method: ia3, stage: "start" });
    const model = await peft(reference.base).use(ia3, { placement: "paper" }).apply();
    model.setTrainable(reference.trainable());
    const dir = await saveAdapter(model, { dir: fresh() });
    expect(readAdapterConfig(dir)["feedforward_modules"]).toBe(
      "roberta\\.encoder\\.layer\\.0\\.output\\.dense|roberta\\.encoder\\.layer\\.1\\.output\\.dense",
    );
    const again = new PeftModel(reference.base);
    await loadAdapter(again, { dir, methods });
    expect(relativeDifference(await output(again, values), values.get("logits.start")!.data)).toBeLessThan(1e-5);
  });
});

/** Logits of the reference's first batch. */
async function output(model: PeftModel, values: ReadonlyMap<string, HostTensor>): Promise<ArrayLike<number>> {
  return (await logits(model, { engine, batch: referenceBatch({ values }, 0) })).data;
}

describe("several adapters", () => {
  const dir = (name: string): string => folderOf(`several/${name}`);

  async function loadTwo(): Promise<{ model: PeftModel; values: Map<string, HostTensor> }> {
    const model = new PeftModel(await fromPretrained(folderOf("roberta/base")));
    for (const name of ["one", "two"]) await loadAdapter(model, { dir: dir(name), methods, adapterName: name });
    return { model, values: await readTensors(dir("values.safetensors")) };
  }

  it.each([[["one", "two"]], [["two", "one"]]])("multiply, unmerged and merged in the order %s", async (order) => {
    const { model, values } = await loadTwo();
    const expected = values.get("logits.both")!.data;
    model.setActive(order);
    expect(relativeDifference(await output(model, values), expected)).toBeLessThan(1e-5);
    model.merge({ adapters: [order[0]!] });
    expect(relativeDifference(await output(model, values), expected)).toBeLessThan(1e-5);
    model.merge();
    expect(model.merged).toEqual(order);
    const merged = await output(model, values);
    expect(relativeDifference(merged, expected)).toBeLessThan(1e-5);
    expect(relativeDifference(merged, values.get("logits.merged")!.data)).toBeLessThan(1e-5);
  });

  it("combine into the weighted sum of their vectors", async () => {
    const { model } = await loadTwo();
    const { params } = await combineAdapters(model, { adapters: ["one", "two"], weights: [0.75, -0.5], name: "both" });
    const [theirs, one, two] = await Promise.all(
      ["combined", "one", "two"].map((name) => readAdapterTensors(dir(name))),
    );
    expect(params.size).toBe(theirs!.size);
    for (const [key, { data }] of params) {
      const name = `base_model.model.${key.replace(/\.l$/u, ".ia3_l")}`;
      // Where one of them has no vector, it leaves the layer as it is: l = 1. Python leaves the summand out.
      const missing = one!.has(name) ? (two!.has(name) ? 0 : -0.5) : 0.75;
      const expected = theirs!.get(name)!.data.map((value) => value + missing);
      expect(data, key).toBeAllClose(expected as Float32Array, tol.float32);
    }
  });

  it("combined, are saved and loaded as one", async () => {
    const { model, values } = await loadTwo();
    await combineAdapters(model, { adapters: ["one", "two"], weights: [0.5, 0.5], name: "mean" });
    model.setActive("mean");
    const expected = await output(model, values);
    const again = new PeftModel(model.base);
    await loadAdapter(again, { dir: await saveAdapter(model, { dir: fresh(), adapterName: "mean" }), methods });
    expect(await output(again, values)).toEqual(expected);
  });

  it("know one type of combination, without settings", async () => {
    const { model } = await loadTwo();
    const pair = { adapters: ["one", "two"], weights: [1, 1] };
    await combineAdapters(model, { ...pair, name: "sum", type: "linear" });
    const combining = combineAdapters(model, { ...pair, name: "voted", type: "ties", density: 0.5 });
    await expect(combining).rejects.toThrow('got type "ties", density');
    await expect(combining).rejects.toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  it("do not combine where one scales the input and the other the output of a layer", async () => {
    const { model } = await loadTwo();
    const config = { targetModules: ["output.dense"], feedforwardModules: [] };
    await model.attach({ name: "outer", method: ia3 as never, config });
    const combining = combineAdapters(model, { adapters: ["one", "outer"], weights: [1, 1], name: "both" });
    await expect(combining).rejects.toThrow(expect.objectContaining({ code: "COMBINE_UNSUPPORTED" }));
    await expect(combining).rejects.toThrow("roberta.encoder.layer.0.attention.output.dense");
  });
});

describe("merging", () => {
  it("is taken back to the bit, also where a vector is zero", async () => {
    const model = await loadReference({ folder: folderOf("roberta") }, { method: ia3, stage: "start" });
    const zeroed = Object.entries(model.trainable()).map(([key, { data, shape }]) => {
      const values = Float32Array.from(data, (value, i) => (i % 3 === 0 ? 0 : value));
      return [key, { dtype: "float32", shape, data: values } as const] as const;
    });
    model.setTrainable(Object.fromEntries(zeroed));
    const bits = (): number[] => Object.values(model.frozen()).flatMap(({ data }) => [...data]);
    const before = bits();
    model.merge({ safe: true });
    expect(bits()).not.toEqual(before);
    model.unmerge();
    expect(bits()).toEqual(before);
  });
});
