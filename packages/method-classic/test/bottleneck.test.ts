import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter, writeSafetensors } from "@peftjs/core";
import type { BaseModel, HostTensor, Method } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { eagerEngine, installMatchers, linearSite, scratchFolders, useCpuBackend } from "@peftjs/testkit";
import {
  describeReference,
  expectSameFiles,
  loadReference,
  logits,
  perturb,
  readAdapterConfig,
  readAdapterTensors,
  readReference,
  referenceBatch,
} from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { parallel, series } from "../src/index.ts";
import type { ParallelConfig, SeriesConfig } from "../src/index.ts";

/** Written by fixtures/bottleneck/make.py with torch. */
const folderOf = (name: string): URL => new URL(`../../../fixtures/bottleneck/${name}`, import.meta.url);
const cases = [
  ["bert-series", series as unknown as Method],
  ["roberta-adapterp", series as unknown as Method],
  ["roberta-parallel", parallel as unknown as Method],
] as const;

for (const [name, method] of cases) describeReference(method, { folders: [folderOf(name)] });

const methods = new MethodRegistry().use(parallel).use(series);
const baseOf = (name: (typeof cases)[number][0]): Promise<BaseModel> =>
  fromPretrained(join(fileURLToPath(folderOf(name)), "base"));
const small = { bottleneckSize: 3 };

const withSeries = async (config: Partial<SeriesConfig>, base = baseOf("bert-series")): Promise<PeftModel> =>
  peft(await base)
    .use(series, { ...small, ...config }, { seed: 7 })
    .apply();
const withParallel = async (config: Partial<ParallelConfig>): Promise<PeftModel> =>
  peft(await baseOf("roberta-parallel"))
    .use(parallel, { ...small, ...config }, { seed: 7 })
    .apply();

const targetsOf = (model: PeftModel): string[] =>
  (model.adapters.get("default")?.layers ?? []).map(({ site }) => site.path.replace(/^.*layer\./u, ""));
const paramsOf = (model: PeftModel): ReadonlyMap<string, HostTensor> =>
  model.adapters.get("default")?.params as ReadonlyMap<string, HostTensor>;
const shapesOf = (model: PeftModel, layer: string): (readonly number[])[] =>
  [...paramsOf(model)].filter(([name]) => name.includes(layer)).map(([, { shape }]) => shape);

describe("where bottleneck adapters sit", () => {
  const [inner, hidden, size] = [24, 16, 3];

  it("series: before the first layers of the feed-forward block and after the last, on the hidden states both times", async () => {
    const model = await withSeries({});
    expect(targetsOf(model)).toEqual([0, 1].flatMap((i) => [`${i}.intermediate.dense`, `${i}.output.dense`]));
    for (const layer of ["0.intermediate.dense", "1.output.dense"])
      expect(shapesOf(model, layer)).toEqual([
        [size, hidden],
        [hidden, size],
      ]);
  });

  it("series, AdapterP: after the feed-forward block alone, not after attention", async () => {
    expect(targetsOf(await withSeries({ useAdapterp: true }))).toEqual(["0.output.dense", "1.output.dense"]);
  });

  it("series: after any other layer, and where the config says so", async () => {
    const model = await withSeries({
      targetModules: ["attention.output.dense", "intermediate.dense", "output.dense"],
      placement: { "layer.0.intermediate.dense": "after", "layer.1.output.dense": "before" },
    });
    expect(shapesOf(model, "0.intermediate.dense")[0]).toEqual([size, inner]);
    expect(shapesOf(model, "1.intermediate.dense")[0]).toEqual([size, hidden]);
    expect(shapesOf(model, "1.output.dense")[0]).toEqual([size, inner]);
  });

  it("parallel: beside queries, keys and values, from inputs to outputs", async () => {
    expect(targetsOf(await withParallel({}))).toEqual(
      [0, 1].flatMap((i) => ["query", "key", "value"].map((name) => `${i}.attention.self.${name}`)),
    );
    const model = await withParallel({ targetRoles: ["ffnUp"] });
    expect(shapesOf(model, "0.intermediate.dense")).toEqual([
      [size, hidden],
      [inner, size],
    ]);
  });

  it.each([
    ["llama", ["gate_proj", "up_proj", "down_proj"], ["down_proj"], ["q_proj", "k_proj", "v_proj"]],
    ["gptj", ["fc_in", "fc_out"], ["fc_out"], ["q_proj", "k_proj", "v_proj"]],
    ["bloom", ["dense_h_to_4h", "dense_4h_to_h"], ["dense_4h_to_h"], ["query_key_value"]],
    ["chatglm", ["dense_h_to_4h", "dense_4h_to_h"], ["dense_4h_to_h"], ["query_key_value"]],
    ["opt", ["fc1", "fc2"], ["fc2"], ["q_proj", "k_proj", "v_proj"]],
    ["gpt_neo", ["c_fc", "c_proj"], ["c_proj"], ["q_proj", "k_proj", "v_proj"]],
  ])("%s has the default layers of LLM-Adapters", (modelType, adapterH, adapterP, beside) => {
    const seriesOf = (given: object): unknown =>
      series.resolve?.(series.config.parse(given), { modelType })?.targetModules;
    expect(seriesOf({})).toEqual(adapterH);
    expect(seriesOf({ useAdapterp: true })).toEqual(adapterP);
    expect(seriesOf({ useAdapterp: true, targetModules: ["gate_proj"] })).toEqual(["gate_proj"]);
    expect(parallel.resolve?.(parallel.config.parse({}), { modelType })?.targetModules).toEqual(beside);
  });

  it("refuses embeddings", async () => {
    await expect(withSeries({ targetModules: ["word_embeddings"] })).rejects.toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringContaining("word_embeddings") as string,
      }),
    );
  });
});

describe("start values", () => {
  it("mam_adapter: D uniform up to 1/√in, U zero", async () => {
    for (const [name, { shape, data }] of paramsOf(await withSeries({ bottleneckSize: 64 }))) {
      const bound = 1 / Math.sqrt(shape[1] as number);
      const largest = Math.max(...Array.from(data, Math.abs));
      if (name.endsWith(".up")) expect(largest).toBe(0);
      else expect(largest / bound).toBeCloseTo(1, 1);
    }
  });

  it("bert: both normal with a deviation of 0.02", async () => {
    for (const [name, { data }] of paramsOf(await withParallel({ bottleneckSize: 200, initWeights: "bert" }))) {
      const values = Array.from(data as Float32Array);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
      // Of 3200 draws: 3 standard errors.
      expect(Math.abs(mean), name).toBeLessThan(0.0011);
      expect(Math.abs(deviation - 0.02), name).toBeLessThan(0.00075);
    }
  });
});

describe("models with bottleneck adapters", () => {
  let engine: Engine;
  beforeAll(async () => {
    installMatchers();
    engine = await createEngine(eagerEngine);
  });
  const batchOf = async (name: (typeof cases)[number][0]) => referenceBatch(await readReference(folderOf(name)), 0);
  const outputOf = async (model: PeftModel, extra: Readonly<Record<string, HostTensor>> = {}): Promise<HostTensor> =>
    logits(model, { engine, batch: { ...(await batchOf("bert-series")), ...extra } });

  it("start as the base model with mam_adapter, bit for bit, and not with bert", async () => {
    const base = await outputOf(new PeftModel(await baseOf("bert-series")));
    expect((await outputOf(await withSeries({}))).data).toEqual(base.data);
    expect(await outputOf(await withSeries({ initWeights: "bert" }))).not.toBeAllClose(base);
  });

  it.each([
    ["before", { targetRoles: ["ffnUp"] }],
    ["after", { targetRoles: ["ffnDown"] }],
  ])("%s a layer, c·f is what a factor on the adapter's response gives", async (_, where) => {
    const config = { ...where, layersToTransform: [1] };
    const suppressed = async (scaling: number, factor: number): Promise<HostTensor> => {
      const model = await withSeries({ ...config, scaling });
      perturb(model, { layersOnly: true });
      return outputOf(model, { adapter_scale: model.adapterScale({ default: factor }) });
    };
    expect(await suppressed(1, 0.25)).toBeAllClose(await suppressed(0.25, 1));
    expect(await suppressed(1, 0.25)).not.toBeAllClose(await suppressed(1, 1));
    expect((await suppressed(1, 0)).data).toEqual((await outputOf(new PeftModel(await baseOf("bert-series")))).data);
  });

  it("nest series adapters: the order matters; parallel ones add up: it does not", async () => {
    const both = async (method: typeof series | typeof parallel, order: readonly string[]): Promise<HostTensor> => {
      const model = new PeftModel(await baseOf("bert-series"));
      const config = { targetRoles: ["ffnDown"], modulesToSave: [], ...small };
      await model.attach({ name: "one", method: method as unknown as Method, config, seed: 1 });
      await model.attach({ name: "two", method: method as unknown as Method, config, seed: 2 });
      model.setActive(["one", "two"]);
      perturb(model, { std: 0.5 });
      model.setActive([...order]);
      return outputOf(model);
    };
    expect(await both(series, ["one", "two"])).not.toBeAllClose(await both(series, ["two", "one"]));
    expect(await both(parallel, ["one", "two"])).toBeAllClose(await both(parallel, ["two", "one"]));
  });
});

describe("dropout", () => {
  it.each([
    ["before", series, "ffnUp"],
    ["after", series, "ffnDown"],
    ["parallel", parallel, "query"],
  ] as const)("%s: drops from what goes into the adapter, not into the layer", (_, variant, role) => {
    useCpuBackend();
    installMatchers();
    const method = variant as unknown as Method;
    const site = linearSite({ role, inFeatures: 4, outFeatures: 4 });
    const config = method.config.parse({ ...small, adapterDropout: 0.3 });
    const x = tf.randomNormal<tf.Rank.R2>([2, 4], 0, 1, "float32", 5);
    const weight = tf.randomNormal<tf.Rank.R2>([4, 4], 0, 1, "float32", 6);
    const base = (input: tf.Tensor2D): tf.Tensor2D => tf.matMul(input, weight, false, true);
    const params = { down: tf.ones([3, 4]), up: tf.ones([4, 3]) };
    const rates: number[] = [];
    const output = (drop: (value: tf.Tensor2D) => tf.Tensor2D): tf.Tensor | undefined =>
      method.forward?.({
        ...{ site, config, params, x, base, weight, bias: null, innermost: true, training: true, responseScale: null },
        dropout: (value, rate) => {
          rates.push(rate);
          return drop(value);
        },
      });
    expect(output((value) => tf.zerosLike(value))).toBeAllClose(base(x));
    expect(output((value) => value)).not.toBeAllClose(base(x));
    expect(rates).toEqual([0.3, 0.3]);
  });
});

describe("files of bottleneck adapters", () => {
  const fresh = scratchFolders();

  it.each(cases)("%s: saved again, the tensors and settings are those of the reference", async (name, method) => {
    const folder = fileURLToPath(folderOf(name));
    const model = await loadReference({ folder }, { method, stage: "final" });
    await expectSameFiles(await saveAdapter(model, { dir: fresh() }), join(folder, "final"));
  });

  it.each(cases)("%s: use_parallel_adapter tells the two methods apart", async (name, method) => {
    const model = new PeftModel(await baseOf(name));
    await loadAdapter(model, { dir: join(fileURLToPath(folderOf(name)), "final"), methods });
    expect(model.adapters.get("default")?.method.name).toBe(method.name);
  });

  it("name the layers that excludeModules and layersToTransform leave, and where an adapter sits if it is unusual", async () => {
    const model = await withSeries({
      targetModules: ["dense"],
      excludeModules: ["attention.output.dense", "pooler.dense"],
      layersToTransform: [1],
      placement: { "intermediate.dense": "after" },
    });
    perturb(model);
    const dir = await saveAdapter(model, { dir: fresh() });
    expect(readAdapterConfig(dir)).toMatchObject({
      target_modules: ["1.intermediate.dense", "1.output.dense"],
      placement: { "intermediate.dense": "after" },
    });
    const again = new PeftModel(await baseOf("bert-series"));
    await loadAdapter(again, { dir, methods });
    expect(paramsOf(again)).toEqual(paramsOf(model));
    expect(Object.keys(readAdapterConfig(await saveAdapter(await withSeries({}), { dir: fresh() })))).not.toContain(
      "placement",
    );
  });

  it("read biases that learn as LLM-Adapters names them, with keyMapping", async () => {
    const source = join(fileURLToPath(folderOf("roberta-adapterp")), "final");
    const dir = fresh();
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(readAdapterConfig(source)));
    const tensors = await readAdapterTensors(source);
    const renamed = new Map([...tensors].map(([key, tensor]) => [key.replace(".base_layer.bias", ".bias"), tensor]));
    expect([...renamed.keys()]).not.toEqual([...tensors.keys()]);
    await writeSafetensors(join(dir, "adapter_model.safetensors"), renamed, {});
    const model = new PeftModel(await baseOf("roberta-adapterp"));
    const keyMapping = { "(output\\.dense)\\.bias$": "$1.base_layer.bias" };
    const { missing, unexpected } = await loadAdapter(model, { dir, methods, keyMapping });
    expect([missing, unexpected]).toEqual([[], []]);
    await expectSameFiles(await saveAdapter(model, { dir: fresh() }), source);
  });

  it("refuse a function that is not known", async () => {
    const dir = await saveAdapter(await withSeries({}), { dir: fresh() });
    const json = { ...readAdapterConfig(dir), non_linearity: "gelou" };
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(json));
    const model = new PeftModel(await baseOf("bert-series"));
    await expect(loadAdapter(model, { dir, methods })).rejects.toThrow(/nonLinearity/u);
  });
});
