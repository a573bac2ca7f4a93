import { createGenerator, weightShape, zeros } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { LoraConfig } from "./config.ts";
import { initLora } from "./init.ts";

const linear = linearSite({ path: "block.query", inFeatures: 64, outFeatures: 48 });
const table: LayerSite = { ...linear, path: "words", kind: "embedding", role: "embedding", layout: "in_out" };

function init(site: LayerSite, settings: Partial<LoraConfig>) {
  const config = LoraConfig.parse(settings);
  return initLora({
    site,
    config,
    generator: createGenerator(1),
    weight: zeros(weightShape(site)),
    bias: null,
    calibration: undefined,
  }).params;
}

function deviation(values: ArrayLike<number>): number {
  const list = Array.from(values);
  return Math.sqrt(list.reduce((sum, value) => sum + value * value, 0) / list.length);
}

describe("initLora", () => {
  it("draws A uniformly in ±1/√in and leaves B zero", () => {
    const { a, b } = init(linear, { rank: 16 });
    expect(a!.shape).toEqual([16, 64]);
    expect(b!.shape).toEqual([48, 16]);
    expect(Math.max(...a!.data)).toBeLessThanOrEqual(0.125);
    expect(deviation(a!.data)).toBeCloseTo(0.125 / Math.sqrt(3), 2);
    expect(b!.data.every((value) => value === 0)).toBe(true);
  });

  it("draws a gaussian A of deviation 1/r", () => {
    expect(deviation(init(linear, { rank: 16, initLoraWeights: "gaussian" })["a"]!.data)).toBeCloseTo(1 / 16, 2);
  });

  it("false leaves both as constructed", () => {
    const { a, b } = init(linear, { rank: 16, initLoraWeights: false });
    expect(deviation(a!.data)).toBeGreaterThan(0.05);
    expect(deviation(b!.data)).toBeCloseTo(0.25 / Math.sqrt(3), 2);
  });

  it("orthogonal: B·A is zero although neither is", () => {
    const { a, b } = init(linear, { rank: 6, initLoraWeights: "orthogonal" });
    expect(deviation(a!.data)).toBeGreaterThan(0.01);
    expect(deviation(b!.data)).toBeGreaterThan(0.01);
    for (let o = 0; o < 48; o++) {
      for (let i = 0; i < 64; i++) {
        let sum = 0;
        for (let k = 0; k < 6; k++) sum += b!.data[o * 6 + k]! * a!.data[k * 64 + i]!;
        expect(Math.abs(sum)).toBeLessThan(1e-7);
      }
    }
    expect(() => init(linear, { rank: 5, initLoraWeights: "orthogonal" })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
  });

  it("an embedding starts with A zero and B normal(0, 1)", () => {
    const { embeddingA, embeddingB } = init(table, { rank: 16 });
    expect(embeddingA!.shape).toEqual([16, 64]);
    expect(embeddingA!.data.every((value) => value === 0)).toBe(true);
    expect(embeddingB!.shape).toEqual([48, 16]);
    expect(deviation(embeddingB!.data)).toBeCloseTo(1, 1);
    expect(() => init(table, { loraBias: true })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  it("a bias of B goes with plain starts only", () => {
    expect(init(linear, { loraBias: true })["biasB"]!.data.every((value) => value === 0)).toBe(true);
    for (const initLoraWeights of ["gaussian", "pissa", "eva"] as const)
      expect(() => init(linear, { loraBias: true, initLoraWeights })).toThrow(
        expect.objectContaining({
          code: "CONFIG_INVALID",
          message: expect.stringContaining(`got "${initLoraWeights}"`) as unknown,
        }),
      );
  });
});
