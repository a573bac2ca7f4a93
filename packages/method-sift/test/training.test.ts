import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import type { BaseModel, HostTensor } from "@peftjs/core";
import { scratchFolders } from "@peftjs/testkit";
import { describeOnEngines, logits, readAdapterConfig, relativeDifference } from "@peftjs/testkit/conformance";
import { decays } from "@peftjs/train";
import { describe, expect, it } from "vitest";
import { sift } from "../src/index.ts";
import type { SiftConfig } from "../src/index.ts";
import { attach, batchAt, chosen, dense, gradientBatch, singleLayer, tinyRoberta, train } from "./single.ts";

const fresh = scratchFolders();
const methods = new MethodRegistry().use(sift);
const modules = ["query", "value", "output.dense", "intermediate.dense"];
const values = (base: BaseModel, name: string): Float32Array => base.parameters.get(name)!.data as Float32Array;
const worked = [gradientBatch([1, -2, 3, 0.5, 1, 1]), gradientBatch([0, -1, -1, 0.5, 2, 0])];
const choice = [gradientBatch([0.1, -0.9, 0.3, 0.5, -0.2, 0.05])];

describeOnEngines("SIFT in training", (engine) => {
  const attached = (config: Partial<SiftConfig>, base: BaseModel = tinyRoberta()): Promise<PeftModel> =>
    attach(config, { base, engine: engine() });
  const output = async (model: PeftModel): Promise<HostTensor["data"]> =>
    (await logits(model, { engine: engine(), batch: batchAt(9) })).data;

  it.each(["out_in", "in_out"] as const)("takes the steps of the worked example, stored %s", async (layout) => {
    for (const [steps, expected] of [
      [1, [1, 2.1, 2.9, 3.9, 5, 6]],
      [2, [1, 2.193217963, 2.859978143, 3.800000004, 5, 6]],
    ] as const) {
      const config = { rate: 0.34, includeBias: false };
      const model = await attach(config, { base: singleLayer(layout), engine: engine(), data: choice });
      expect([...model.adapters.get("default")!.buffers.get("layer.indices")!.data]).toEqual([1, 2, 3]);
      await train(model, { engine: engine(), data: worked.slice(0, steps), config: { learningRate: 0.1 } });
      const weight = values(model.mergeAndUnload(), "layer.weight");
      const places = layout === "out_in" ? [0, 1, 2, 3, 4, 5] : [0, 2, 4, 1, 3, 5];
      places.forEach((place, i) => expect(weight[place]).toBeCloseTo(expected[i]!, 6));
      expect([weight[places[0]!], weight[places[4]!], weight[places[5]!]]).toEqual([1, 5, 6]);
    }
  });

  it("at rate 1 is dense AdamW without decay", async () => {
    const config = { targetModules: modules };
    const own = await attached({ ...config, rate: 1 });
    const whole = await peft(tinyRoberta()).use(dense, config).apply();
    const settings = { weightDecay: 0 };
    const [losses, expected] = [
      await train(own, { engine: engine(), config: settings }),
      await train(whole, { engine: engine(), config: settings }),
    ];
    expect(relativeDifference(losses, expected)).toBeLessThan(1e-5);
    expect(relativeDifference(await output(own), await output(whole))).toBeLessThan(1e-4);
    expect(own.trainableReport().trainable).toBe(whole.trainableReport().trainable);
  });

  it.each([
    ["tensor by tensor", { rate: 0.1 }],
    ["over all of them", { rate: 0.02, scope: "global" }],
    ["decaying as weights", { rate: 0.1, weightDecayMode: "weight" }],
  ] as const)("%s, changes the chosen entries and no other bit, and can be taken out again", async (_, config) => {
    const base = tinyRoberta();
    const model = await attached({ ...config, targetModules: modules }, base);
    const before = await output(model);
    await train(model, { engine: engine(), data: [batchAt(0), batchAt(1)], config: { weightDecay: 0.3 } });
    const { layers } = model.adapters.get("default")!;
    const places = chosen(model);
    const entriesOf = new Map(
      layers.flatMap(({ site: { path, weight, bias } }) => [
        [weight, places[`${path}.indices`] ?? []],
        [bias!, places[`${path}.biasIndices`] ?? []],
      ]),
    );
    const merged = model.mergeAndUnload();
    for (const name of base.parameters.keys()) {
      if (name.startsWith("classifier.")) continue; // The head learns in full.
      const [was, is] = [values(base, name), values(merged, name)];
      const entries = entriesOf.get(name) ?? [];
      const changed = [...is.keys()].filter((i) => !Object.is(is[i], was[i]));
      expect(changed, name).toEqual(entries);
    }
    model.merge();
    model.unmerge();
    for (const { site } of layers) expect(model.frozen()[site.weight]).toBe(base.parameters.get(site.weight));
    expect(await model.disable(() => output(model))).toEqual(before);
  });

  it("shows the last increment right after the last step", async () => {
    const base = tinyRoberta();
    const model = await attached({ rate: 0.1, modulesToSave: [] }, base);
    const before = await output(model);
    await train(model, { engine: engine(), data: [batchAt(0)] });
    const after = await output(model);
    expect(relativeDifference(after, before)).toBeGreaterThan(1e-4);
    expect(relativeDifference(await output(new PeftModel(model.mergeAndUnload())), after)).toBeLessThan(1e-6);
    // The first step moves every entry by the learning rate.
    for (const [key, { data }] of Object.entries(model.trainable()))
      for (const value of data) expect(Math.abs(value), key).toBeCloseTo(1e-2, 4);
  });

  it("merged, the adapter that was saved and read is the one that was trained", async () => {
    const model = await attached({ rate: 0.2, targetModules: modules });
    await train(model, { engine: engine() });
    const again = new PeftModel(tinyRoberta());
    await loadAdapter(again, { dir: await saveAdapter(model, { dir: fresh() }), methods });
    const [one, other] = [model.mergeAndUnload(), again.mergeAndUnload()];
    for (const [name, { data }] of one.parameters) expect(other.parameters.get(name)!.data, name).toEqual(data);
  });

  it("adds up with another one", async () => {
    const base = tinyRoberta();
    const model = await attached({ rate: 0.2, modulesToSave: [] }, base);
    await model.attach({
      name: "second",
      method: sift,
      config: { rate: 0.3, selection: "magnitude", modulesToSave: [] },
    });
    model.setActive(["default", "second"]);
    await train(model, { engine: engine() });
    const both = await output(model);
    expect(relativeDifference(await output(new PeftModel(model.mergeAndUnload())), both)).toBeLessThan(1e-5);
    model.setActive("second");
    const second = await output(model);
    expect(relativeDifference(second, both)).toBeGreaterThan(1e-3);
    expect(relativeDifference(await output(new PeftModel(model.mergeAndUnload())), second)).toBeLessThan(1e-5);
  });
});

describeOnEngines("weight decay", (engine) => {
  const [rate, decay] = [0.1, 0.5];

  /** W[I] after one step at the gradient ±1, whose Adam direction is its sign. */
  async function stepped(weightDecayMode: SiftConfig["weightDecayMode"], steps = 1): Promise<number[]> {
    const base = singleLayer();
    const model = await attach({ rate: 0.34, weightDecayMode }, { base, engine: engine(), data: choice });
    const data = Array.from({ length: steps }, () => worked[0]!);
    await train(model, { engine: engine(), data, config: { learningRate: rate, weightDecay: decay } });
    const weight = values(model.mergeAndUnload(), "layer.weight");
    return [1, 2, 3].map((place) => weight[place]!);
  }

  it("none: not at all; delta: towards the start; weight: towards zero", async () => {
    const start = [2, 3, 4];
    const move = [rate, -rate, -rate];
    const close = (actual: number[], expected: number[]): void =>
      actual.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
    const keep = 1 - rate * decay;
    const first = start.map((value, i) => value + move[i]!);
    close(await stepped("none"), first);
    close(await stepped("delta"), first);
    close(
      await stepped("weight"),
      start.map((value, i) => keep * value + move[i]!),
    );
    close(
      await stepped("none", 2),
      first.map((value, i) => value + move[i]!),
    );
    close(
      await stepped("delta", 2),
      start.map((value, i) => value + keep * move[i]! + move[i]!),
    );
    close(
      await stepped("weight", 2),
      start.map((value, i) => keep * (keep * value + move[i]!) + move[i]!),
    );
  });

  it("weight: the file holds increments, and what is read goes on as before", async () => {
    const config = { rate: 0.2, weightDecayMode: "weight" as const, selection: "magnitude" as const };
    const settings = { weightDecay: 0.3, optimizer: "sgd" as const };
    const model = await attach(config, { base: tinyRoberta(), engine: engine() });
    await train(model, { engine: engine(), config: settings });
    const dir = await saveAdapter(model, { dir: fresh() });
    expect(readAdapterConfig(dir)).toMatchObject({ weight_decay_mode: "weight", rate: 0.2, lora_rank: null });
    const again = new PeftModel(tinyRoberta());
    await loadAdapter(again, { dir, methods });
    for (const [key, { data }] of Object.entries(model.trainable()))
      expect(relativeDifference(again.trainable()[key]!.data, data), key).toBeLessThan(1e-6);
    const [losses, expected] = [
      await train(again, { engine: engine(), config: settings }),
      await train(model, { engine: engine(), config: settings }),
    ];
    expect(relativeDifference(losses, expected)).toBeLessThan(1e-5);
  });
});

it("entries of biases do not decay, as biases of models", () => {
  expect(["values", "biasValues"].map((short) => decays(`default.encoder.layer.0.query.${short}`))).toEqual([
    true,
    false,
  ]);
});

describe("a file", () => {
  it("whose entries lie outside of its tensor is refused", () => {
    const base = singleLayer();
    const [site] = base.sites;
    const restore = (places: number[]): unknown =>
      sift.restore?.({
        ...{
          site: site!,
          config: sift.config.parse({}),
          state: {},
          weight: base.parameters.get("layer.weight") as HostTensor,
        },
        params: {
          values: { dtype: "float32", shape: [2], data: new Float32Array(2) },
          indices: { dtype: "int32", shape: [2], data: Int32Array.from(places) },
        },
      });
    expect(restore([0, 5])).toEqual({});
    for (const places of [
      [0, 6],
      [3, 3],
      [4, 1],
      [-1, 2],
    ])
      expect(() => restore(places)).toThrow(expect.objectContaining({ code: "ADAPTER_TENSORS" }) as Error);
  });
});
