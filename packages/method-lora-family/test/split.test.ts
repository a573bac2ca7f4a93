import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { Adapter, BaseModel, HostTensor, Method, SaveAdapterOptions } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { compiledEngine, scratchFolders } from "@peftjs/testkit";
import {
  describeReference,
  expectSameSettings,
  loadReference,
  logits,
  readAdapterConfig,
  readAdapterTensors,
  readReference,
  readTensors,
  referenceBatch,
  relativeDifference,
  trainLike,
} from "@peftjs/testkit/conformance";
import { beforeAll, describe, expect, it } from "vitest";
import { lora, loraScale, olora, pissa } from "../src/index.ts";
import type { LoraConfig } from "../src/index.ts";

/** Written by fixtures/pissa/make.py with the Python libraries. */
const fixture = (name: string): URL => new URL(`../../../fixtures/pissa/${name}`, import.meta.url);

describeReference(pissa, { folders: ["exact", "fast"].map(fixture) });
describeReference(olora, { folders: [fixture("olora")] });

const cases = [
  ["exact", pissa as unknown as Method],
  ["fast", pissa as unknown as Method],
  ["olora", olora as unknown as Method],
] as const;

describe.each(cases)("%s", (name, method) => {
  const folder = fileURLToPath(fixture(name));
  const fresh = scratchFolders();
  let engine: Engine;
  let base: BaseModel;
  beforeAll(async () => {
    engine = await createEngine(compiledEngine);
    base = await fromPretrained(join(folder, "base"));
  });

  async function output(model: PeftModel): Promise<ArrayLike<number>> {
    const batch = referenceBatch(await readReference(fixture(name)), 0);
    return (await logits(model, { engine, batch })).data;
  }

  /** The reference's adapter of 20 steps, here. */
  const trained = (): Promise<PeftModel> => loadReference({ folder }, { method, stage: "final" });

  async function reloaded(model: PeftModel, options: Partial<SaveAdapterOptions> = {}): Promise<PeftModel> {
    const dir = await saveAdapter(model, { dir: fresh(), ...options });
    const again = new PeftModel(base);
    await loadAdapter(again, { dir, methods: new MethodRegistry().use(pissa).use(olora).use(lora) });
    return again;
  }

  it("starts from the reference's factors up to sign, and leaves what it leaves", async () => {
    const { adapters } = await loadReference({ folder }, { method, stage: "fresh" });
    const reference = adapters.get("default")!;
    const model = await peft(base).use(method, reference.config).apply();
    const adapter = model.adapters.get("default")!;
    const residual = await readTensors(join(folder, "residual.safetensors"));
    expect(adapter.layers.map(({ site }) => site.path).sort()).toEqual([...residual.keys()].sort());
    for (const { site } of adapter.layers) {
      const rest = adapter.overrides.get(site.weight)!;
      expect(rest.kind).toBe("replaced");
      expect(relativeDifference(rest.tensor.data, residual.get(site.path)!.data), site.path).toBeLessThan(1e-5);
      expectEqualUpToSign(factors(adapter, site.path), factors(reference, site.path));
    }
  });

  it("is saved as the plain LoRA that Python converts it to, with the classifier", async () => {
    const model = await trained();
    const dir = await saveAdapter(model, { dir: fresh() });
    const [ours, theirs, native] = await Promise.all(
      [dir, join(folder, "converted"), join(folder, "final")].map(readAdapterTensors),
    );
    expect([...ours!.keys()].sort()).toEqual([...native!.keys()].sort());
    const shared = [...theirs!.keys()].filter((key) => key.endsWith(".lora_A.weight"));
    expect(theirs!.size).toBe(2 * shared.length);
    for (const key of shared) {
      const pair = (tensors: Map<string, HostTensor>): Factors => ({
        a: tensors.get(key)!,
        b: tensors.get(key.replace("lora_A", "lora_B"))!,
      });
      expectEqualUpToSign(pair(ours!), pair(theirs!));
    }
    const heads = [...ours!.keys()].filter((key) => key.includes(".classifier."));
    expect(heads).toHaveLength(4);
    for (const key of heads) expect(ours!.get(key)).toEqual(native!.get(key));

    expectSameSettings(dir, join(folder, "converted"));
    const { initLoraWeights } = model.adapters.get("default")!.config as LoraConfig;
    expect(initLoraWeights).toBe(readAdapterConfig(join(folder, "final"))["init_lora_weights"]);
  });

  it("converted and loaded as LoRA on the original base model gives the trained model's logits", async () => {
    const model = await trained();
    const plain = await reloaded(model);
    const adapter = plain.adapters.get("default")!;
    expect(adapter.method.name).toBe("lora");
    expect([...adapter.overrides.values()].map(({ kind }) => kind)).not.toContain("replaced");
    expect(relativeDifference(await output(plain), await output(model))).toBeLessThan(1e-5);
  });

  it("saved in its own form and loaded on the original base model is the same to the bit", async () => {
    const model = await peft(base)
      .use(method, (await trained()).adapters.get("default")!.config, { seed: 5 })
      .apply();
    await trainLike(await readReference(fixture(name)), { model, engine, training: { maxSteps: 2 } });
    const again = await reloaded(model, { native: true });
    expect(again.adapters.get("default")!.method).toBe(method);
    expect(again.adapters.get("default")!.config).toEqual({
      ...model.adapters.get("default")!.config,
      targetModules: (again.adapters.get("default")!.config as LoraConfig).targetModules,
    });
    expect(again.frozen()).toEqual(model.frozen());
    expect(again.trainable()).toEqual(model.trainable());
    expect(await output(again)).toEqual(await output(model));
  });

  it("merges into what was left of the weights, and unmerging restores every bit", async () => {
    const model = await trained();
    const adapter = model.adapters.get("default")!;
    const before = model.frozen();
    model.merge();
    model.unmerge();
    expect(model.frozen()).toEqual(before);
    const merged = model.mergeAndUnload();
    for (const { site, config } of adapter.layers) {
      const { a, b } = factors(adapter, site.path);
      const [rank, inFeatures] = a.shape as [number, number];
      const scale = loraScale(config as LoraConfig);
      const rest = adapter.overrides.get(site.weight)!.tensor.data;
      const expected = Array.from(rest, (value, index) => {
        const [row, column] = [Math.floor(index / inFeatures), index % inFeatures];
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += b.data[row * rank + k]! * a.data[k * inFeatures + column]!;
        return value + scale * sum;
      });
      expect(relativeDifference((merged.parameters.get(site.weight) as HostTensor).data, expected)).toBeLessThan(1e-6);
    }
    expect(relativeDifference(await output(new PeftModel(merged)), await output(model))).toBeLessThan(1e-5);
    expect(model.frozen()).toEqual(before);
  });

  it("is active alone: two would replace the same weights", async () => {
    const model = await trained();
    for (const other of [method, lora as unknown as Method]) {
      const { config } = model.adapters.get("default")!;
      await model.attach({ name: other.name, method: other, config });
      expect(() => model.setActive(["default", other.name])).toThrow(
        expect.objectContaining({ code: "ADAPTER_CONFLICT" }),
      );
    }
    await model.attach({ name: "plain", method: lora, config: { rank: 2 } });
    model.setActive(["default", "plain"]);
  });
});

interface Factors {
  readonly a: HostTensor;
  readonly b: HostTensor;
}

function factors(adapter: Adapter, path: string): Factors {
  const read = (short: string): HostTensor => adapter.params.get(`${path}.${short}`) as HostTensor;
  return { a: read("a"), b: read("b") };
}

/** Rows of A and columns of B may be negative together. */
function expectEqualUpToSign(actual: Factors, expected: Factors): void {
  expect([actual.a.shape, actual.b.shape]).toEqual([expected.a.shape, expected.b.shape]);
  const [rank, inFeatures] = expected.a.shape as [number, number];
  const signs = Array.from({ length: rank }, (_, k) => {
    let product = 0;
    for (let i = 0; i < inFeatures; i++)
      product += actual.a.data[k * inFeatures + i]! * expected.a.data[k * inFeatures + i]!;
    return Math.sign(product);
  });
  const a = Array.from(actual.a.data, (value, i) => value * signs[Math.floor(i / inFeatures)]!);
  const b = Array.from(actual.b.data, (value, i) => value * signs[i % rank]!);
  expect(relativeDifference(a, expected.a.data)).toBeLessThan(1e-5);
  expect(relativeDifference(b, expected.b.data)).toBeLessThan(1e-5);
}
