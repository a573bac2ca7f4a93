import { loadAdapter, MethodRegistry, parseConfig, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { scratchFolders } from "@peftjs/testkit";
import { describeOnEngines, logits, readAdapterConfig, relativeDifference } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { budgetOf, sift } from "../src/index.ts";
import type { SiftConfig } from "../src/index.ts";
import { attach, batchAt, chosen, gradientBatch, singleLayer, tinyRoberta, train } from "./single.ts";

const fresh = scratchFolders();
const methods = new MethodRegistry().use(sift);
const adapterOf = (model: PeftModel) => model.adapters.get("default")!;

/** K: the sum of what every tensor would get for itself. */
function budget(model: PeftModel): number {
  const { layers, config } = adapterOf(model);
  const shares = layers.map(({ site }) => budgetOf(site, config as SiftConfig));
  return shares.reduce((sum, { weight, bias }) => sum + weight + bias, 0);
}

describeOnEngines("a global selection", (engine) => {
  const output = async (model: PeftModel): Promise<HostTensor["data"]> =>
    (await logits(model, { engine: engine(), batch: batchAt(9) })).data;
  const attached = (config: Partial<SiftConfig>): Promise<PeftModel> =>
    attach({ scope: "global", ...config }, { base: tinyRoberta(), engine: engine() });

  it("gives a tensor as many entries as it has large ones, maybe none", async () => {
    // The gradient of the bias is the sums of the rows. A rate of 0.2 stands for two entries of the weight and one of the bias.
    const of = async (rows: readonly number[], config: Partial<SiftConfig> = {}) => {
      const base = singleLayer();
      const options = { base, engine: engine(), data: [gradientBatch(rows)] };
      const model = await attach({ scope: "global", rate: 0.2, ...config }, options);
      return { ...chosen(model), entries: (adapterOf(model).config as SiftConfig).entries };
    };
    expect(await of([0, 5, -5, 0, 3, -4])).toEqual({ "layer.indices": [1, 2, 5], entries: { layer: [3, 0] } });
    // 6 of the bias, then three equal ones: the lower places.
    expect(await of([2, 2, 2, 0, 0, 1])).toEqual({
      ...{ "layer.indices": [0, 1], "layer.biasIndices": [0] },
      entries: { layer: [2, 1] },
    });
    // One entry of each: both are the bias's.
    expect(await of([1, 1, 1, 1, 1, 1], { rate: 0.1 })).toEqual({
      ...{ "layer.biasIndices": [0, 1] },
      entries: { layer: [0, 2] },
    });
    // Of equal ones the weight's come first.
    expect(await of([0, 0, 2, 0, 2, 0], { rate: 0.2 })).toEqual({
      ...{ "layer.indices": [2, 4], "layer.biasIndices": [0] },
      entries: { layer: [2, 1] },
    });
  });

  it.each([
    ["gradient", {}],
    ["magnitude", { loraRank: 1 }],
    ["random", { rate: 0.15 }],
    ["gradient", { rate: 1 }],
  ] as const)("by %s, %j, has K entries exactly", async (selection, given) => {
    const config = { selection, ...given, targetModules: "all-linear" };
    const model = await attached(config);
    const entries = Object.values((adapterOf(model).config as SiftConfig).entries!);
    const places = Object.values(chosen(model));
    expect(places.flat()).toHaveLength(budget(model));
    expect(entries.reduce((sum, [weight, bias]) => sum + weight + bias, 0)).toBe(budget(model));
    const local = chosen(await attached({ ...config, scope: "tensor" }));
    expect(Object.values(local).flat()).toHaveLength(budget(model));
    if ("rate" in given && given.rate === 1) expect(chosen(model)).toEqual(local);
    else expect(chosen(model)).not.toEqual(local);
  });

  it("takes the largest of all tensors together", async () => {
    const model = await attached({ selection: "magnitude", rate: 0.1 });
    const places = chosen(model);
    const [taken, left]: number[][] = [[], []];
    for (const { site } of adapterOf(model).layers) {
      const own = new Set(places[`${site.path}.indices`]);
      model.base.parameters.get(site.weight)!.data.forEach((value, place) => {
        (own.has(place) ? taken : left)!.push(Math.abs(value));
      });
    }
    // Biases start at zero, so they get nothing.
    expect(taken).toHaveLength(budget(model));
    expect(Math.min(...taken!)).toBeGreaterThan(Math.max(...left!));
  });

  it.each([
    ["with layers that get nothing", { rate: 0.01, targetModules: "all-linear" }],
    ["trained as weights", { rate: 0.01, targetModules: "all-linear", weightDecayMode: "weight" }],
    ["without biases", { loraRank: 1, weightDecayMode: "delta" }],
  ] as const)("learns, is saved and read, and merges, %s", async (_, config) => {
    const model = await attached(config);
    const start = await output(model);
    await train(model, { engine: engine() });
    const trained = await output(model);
    expect(relativeDifference(trained, start)).toBeGreaterThan(1e-3);

    const dir = await saveAdapter(model, { dir: fresh() });
    const again = new PeftModel(tinyRoberta());
    await loadAdapter(again, { dir, methods });
    expect(adapterOf(again).config).toMatchObject({ entries: (adapterOf(model).config as SiftConfig).entries });
    expect(chosen(again)).toEqual(chosen(model));
    expect(relativeDifference(await output(again), trained)).toBeLessThan(1e-6);
    again.merge();
    expect(relativeDifference(await output(again), trained)).toBeLessThan(1e-5);
    again.unmerge();
    expect(relativeDifference(await output(again), trained)).toBeLessThan(1e-6);

    const kept = Object.keys((readAdapterConfig(dir) as { entries: object }).entries);
    const bare = adapterOf(model).layers.filter(({ names }) => names.length === 0);
    expect(bare.length > 0).toBe("targetModules" in config);
    expect(bare.length + kept.length).toBe(adapterOf(model).layers.length);
  });

  it("is written as SHiRA's, filled up", async () => {
    const model = await attached({ loraRank: 1, selection: "magnitude" });
    await train(model, { engine: engine() });
    const dir = await saveAdapter(model, { dir: fresh(), as: "shira" });
    const again = new PeftModel(tinyRoberta());
    await loadAdapter(again, { dir, methods });
    expect(relativeDifference(await output(again), await output(model))).toBeLessThan(1e-6);
    expect(readAdapterConfig(dir)["r"]).toBe(2);
  });
});

describe("the config of a global selection", () => {
  it("has numbers of entries; another has none", () => {
    const entries = { layer: [3, 0] } as const;
    expect(parseConfig(sift, { scope: "global", entries }).entries).toEqual(entries);
    expect(() => parseConfig(sift, { entries })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  });
});
