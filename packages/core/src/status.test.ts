import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { added, multiplied, tinyModel, trainsAll } from "../test/tiny.ts";
import type { PeftModel } from "./index.ts";
import { formatTrainableReport, peft } from "./index.ts";

installMatchers();

/** "one" on both queries, "two" on one query and the value, with trained rows; both have a head. */
async function two(): Promise<PeftModel> {
  const model = await peft(tinyModel()).use(added, { rank: 3 }, { name: "one" }).apply();
  const config = { targetModules: ["layer.1.query", "value"], trainableTokenIndices: [2, 4] };
  await model.attach({ name: "two", method: multiplied, config });
  return model;
}

describe("layerStatus", () => {
  it("lists every place with who is there, active, merged and learning", async () => {
    const model = await two();
    const places = model.layerStatus();
    expect(places.map(({ moduleType, name }) => `${moduleType} ${name}`)).toEqual([
      "linear body.layer.0.query",
      "linear body.layer.1.query",
      "savedModule classifier",
      "linear body.layer.1.value",
      "tokenRows body.embed",
    ]);
    expect(places[0]).toEqual({
      name: "body.layer.0.query",
      moduleType: "linear",
      enabled: true,
      activeAdapters: ["one"],
      mergedAdapters: [],
      availableAdapters: ["one"],
      requiresGrad: { one: true },
    });
    expect(places[1]).toMatchObject({
      activeAdapters: ["one"],
      availableAdapters: ["one", "two"],
      requiresGrad: { one: true, two: false },
    });
    expect(model.disable(() => model.layerStatus()).every(({ enabled }) => !enabled)).toBe(true);
    model.merge();
    expect(model.layerStatus()[1]).toMatchObject({ mergedAdapters: ["one"], requiresGrad: { one: false } });
  });
});

describe("status", () => {
  it("sums the model up, and calls an adapter irregular that learns in part", async () => {
    const model = await two();
    expect(model.status()).toEqual({
      baseModelType: "tiny",
      peftTypes: { one: "ADDED", two: "MULTIPLIED" },
      trainableParameters: 58,
      totalParameters: 148 + 8 + 8 + 10,
      adapterLayers: 5,
      enabled: true,
      mixed: false,
      activeAdapters: ["one"],
      mergedAdapters: [],
      availableAdapters: ["one", "two"],
      requiresGrad: { one: true, two: false },
    });
    // The head of the later one counts, so that the other's does not learn.
    model.setActive(["one", "two"]);
    expect(model.status()).toMatchObject({ requiresGrad: { one: "irregular", two: true } });
    model.setLearning("two");
    expect(model.status()).toMatchObject({ requiresGrad: { one: false, two: true }, activeAdapters: ["one", "two"] });
    model.setActive(["one", "two"], { mixed: true });
    expect(model.status()).toMatchObject({ mixed: true, requiresGrad: { one: false, two: false } });
    expect(model.disable(() => model.status()).enabled).toBe(false);
  });
});

describe("trainableReport", () => {
  it("tells the adapter from the head, and the adapters from each other", async () => {
    const model = await two();
    expect(model.trainableReport()).toEqual({
      trainable: 58,
      total: 174,
      percent: (100 * 58) / 174,
      adapterOnly: 48,
      adapters: {
        one: { parameters: 48, buffers: 0, tokenRows: 0, savedModules: 10 },
        two: { parameters: 8, buffers: 0, tokenRows: 8, savedModules: 10 },
      },
    });
    model.setActive(["one", "two"]);
    expect(model.trainableReport()).toMatchObject({ trainable: 48 + 8 + 8 + 10, adapterOnly: 48 + 8 + 8 });
    expect(formatTrainableReport(model.trainableReport())).toBe(
      "trainable params: 74 || all params: 174 || trainable%: 42.5287",
    );
  });

  it("counts base parameters that a method trains as the adapter's", async () => {
    const model = await peft(tinyModel()).use(trainsAll(), { modulesToSave: [] }).apply();
    expect(model.trainableReport()).toMatchObject({ trainable: 90, adapterOnly: 90 });
    expect(model.trainableReport().adapters["default"]).toMatchObject({ parameters: 90, savedModules: 0 });
  });
});
