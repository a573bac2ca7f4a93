import { float32 } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { LoraConfig, loraScale, loraSiteConfig } from "../lora/config.ts";
import { residualToLora } from "./convert.ts";

const site = linearSite({ path: "block.query", inFeatures: 2, outFeatures: 2 });

describe("residualToLora", () => {
  const config = LoraConfig.parse({ rank: 1, alpha: 2, initLoraWeights: "pissa" });
  const params = { a: float32([1.5, -0.5], [1, 2]), b: float32([2.5, 0.5], [2, 1]), other: float32([7], [1]) };
  const state = { a0: float32([1, 0], [1, 2]), b0: float32([2, 1], [2, 1]) };
  const sites = [{ site, config, params, state }];

  it("stacks the trained and the start factors", () => {
    const form = residualToLora({ config, sites, native: false });
    expect(form.params.get(site.path)).toEqual({
      a: float32([1.5, -0.5, 1, 0], [2, 2]),
      b: float32([2.5, -2, 0.5, -1], [2, 2]),
      other: params.other,
    });
    expect(form.config).toEqual({ ...config, rank: 2, alpha: 4, initLoraWeights: true });
    expect(config.initLoraWeights).toBe("pissa");
  });

  it("stacks rows and columns of higher ranks", () => {
    const wide = {
      params: { a: float32([1, 2, 3, 4, 5, 6], [2, 3]), b: float32([1, 2, 3, 4], [2, 2]) },
      state: { a0: float32([-1, -2, -3, -4, -5, -6], [2, 3]), b0: float32([5, 6, 7, 8], [2, 2]) },
    };
    const { params } = residualToLora({ config, sites: [{ site, config, ...wide }], native: false });
    expect(params.get(site.path)).toEqual({
      a: float32([1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6], [4, 3]),
      b: float32([1, 2, -5, -6, 3, 4, -7, -8], [2, 4]),
    });
  });

  it("leaves the native form and every other start alone", () => {
    const native = residualToLora({ config, sites, native: true });
    expect(native).toEqual({ config, params: new Map([[site.path, params]]) });
    const plain = residualToLora({ config, sites: [{ site, config, params, state: {} }], native: false });
    expect(plain).toEqual({ config, params: new Map([[site.path, params]]) });
  });

  it.each([false, true])("keeps the scale of every layer, patterns included (useRslora: %s)", (useRslora) => {
    const patterned = LoraConfig.parse({
      ...{ rank: 4, alpha: 6, useRslora, initLoraWeights: "olora" },
      rankPattern: { key: 2, both: 3 },
      alphaPattern: { value: 5, both: 7 },
    });
    const { config: doubled } = residualToLora({ config: patterned, sites, native: false });
    for (const path of ["query", "key", "value", "both"]) {
      const [before, after] = [patterned, doubled].map((each) =>
        loraSiteConfig({ site: { ...site, path: `block.${path}` }, config: each }),
      );
      expect(after!.rank).toBe(2 * before!.rank);
      expect(loraScale(after!)).toBeCloseTo(loraScale(before!), 12);
    }
  });
});
