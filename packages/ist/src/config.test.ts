import { describe, expect, it } from "vitest";
import { IstConfig, istPlan, RstConfig, rstPlan } from "./config.ts";

describe("IstConfig", () => {
  it("has the published constants as defaults", () => {
    expect(IstConfig.parse({})).toEqual({
      ...{ updateFraction: 0.25, layersPerStep: null, suppressFraction: 0.5, layersSuppressed: null },
      ...{ candidates: 3, suppression: 0.25, interval: 10, importanceLr: 10, importanceBatchSize: 16 },
      ...{
        response: "method",
        importanceSource: "train",
        resampleEvery: 1,
        sampler: "sequential",
        derivativeFactor: true,
        seed: 42,
      },
    });
  });

  it.each([
    { candidates: 1 },
    { suppression: 1 },
    { updateFraction: 0 },
    { updateFraction: 1.5 },
    { layersPerStep: 0 },
    { interval: 0 },
    { sampler: "softmax" },
    { response: "none" },
    { temperature: 1 },
  ])("refuses %o", (options) => {
    expect(IstConfig.safeParse(options).success).toBe(false);
  });
});

describe("istPlan", () => {
  it.each([
    [32, 8, 16],
    [40, 10, 20],
    [30, 7, 15],
    [28, 7, 14],
    [24, 6, 12],
    [12, 3, 6],
    [2, 1, 1],
  ])("of %i blocks trains %i and suppresses %i", (blocks, learning, suppressed) => {
    const plan = istPlan(IstConfig.parse({}), blocks);
    expect(plan.learning).toBe(learning);
    expect(plan.importance?.suppressed).toBe(suppressed);
  });

  it("rounds shares that floating point makes too small", () => {
    expect(istPlan(IstConfig.parse({ updateFraction: 0.29 }), 100).learning).toBe(29);
  });

  it("takes numbers before shares", () => {
    const plan = istPlan(IstConfig.parse({ layersPerStep: 5, layersSuppressed: 3 }), 12);
    expect([plan.learning, plan.importance?.suppressed]).toEqual([5, 3]);
  });

  it("compares no more candidates than there are sets, and none where there is one", () => {
    expect(istPlan(IstConfig.parse({}), 2).importance?.candidates).toBe(2);
    expect(istPlan(IstConfig.parse({}), 1).importance).toBeNull();
    expect(istPlan(IstConfig.parse({ candidates: 0 }), 12).importance).toBeNull();
  });

  it("refuses more blocks than there are, and to suppress all", () => {
    const plan = (options: Partial<IstConfig>) => () => istPlan(IstConfig.parse(options), 4);
    expect(plan({ layersPerStep: 5 })).toThrow("layersPerStep is 5, but the model has 4 blocks");
    expect(plan({ layersSuppressed: 5 })).toThrow("layersSuppressed is 5");
    expect(plan({ layersSuppressed: 4 })).toThrow("nothing to compare");
  });
});

describe("RstConfig and rstPlan", () => {
  it("draw a quarter, uniformly, in every step", () => {
    const config = RstConfig.parse({});
    expect(config).toEqual({ updateFraction: 0.25, layersPerStep: null, resampleEvery: 1, fixed: false, seed: 42 });
    expect(rstPlan(config, 32)).toEqual({
      ...{ blocks: 32, learning: 8, resampleEvery: 1, sampler: "sequential", importance: null },
    });
  });

  it("refuse a fixed set that is drawn again", () => {
    expect(RstConfig.safeParse({ fixed: true, resampleEvery: 2 }).success).toBe(false);
    expect(rstPlan(RstConfig.parse({ fixed: true }), 8).resampleEvery).toBe(Infinity);
  });
});
