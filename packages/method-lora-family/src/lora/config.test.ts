import { describe, expect, it } from "vitest";
import { LoraConfig, loraScale, matchPattern } from "./config.ts";

describe("loraScale", () => {
  it("divides by the rank, or by its root", () => {
    const table = [
      [1, 16, 16],
      [4, 4, 8],
      [8, 2, 5.65685425],
      [16, 1, 4],
      [64, 0.25, 2],
      [256, 0.0625, 1],
    ] as const;
    for (const [rank, plain, stabilised] of table) {
      expect(loraScale({ alpha: 16, rank, useRslora: false })).toBe(plain);
      expect(loraScale({ alpha: 16, rank, useRslora: true })).toBeCloseTo(stabilised, 8);
    }
  });
});

describe("matchPattern", () => {
  const path = "bert.encoder.layer.1.attention.self.query";
  it.each([
    [{ query: 1 }, 1],
    [{ "self.query": 1 }, 1],
    [{ uery: 1 }, undefined],
    [{ "layer.1": 1 }, undefined],
    [{ "^bert.encoder.layer.1.*query": 3 }, 3],
    [{ "^encoder.*query": 3 }, undefined],
    [{ "layer\\.(0|1)\\..*": 2, query: 1 }, 2],
    [{ query: 1, "self.query": 2 }, 1],
  ])("%j → %s", (patterns: Record<string, number>, expected) => {
    expect(matchPattern(patterns, path)).toBe(expected);
  });
});

describe("LoraConfig", () => {
  it("has the Python library's defaults", () => {
    expect(LoraConfig.parse({})).toMatchObject({
      rank: 8,
      alpha: 8,
      dropout: 0,
      bias: "none",
      useRslora: false,
      initLoraWeights: true,
      rankPattern: {},
      alphaPattern: {},
      fanInFanOut: false,
      loraBias: false,
    });
  });

  it.each([
    { rank: 0 },
    { rank: -1 },
    { rank: 1.5 },
    { dropout: 1 },
    { bias: "some" },
    { initLoraWeights: "lucky" },
    { ranks: 4 },
  ])("refuses %j", (input) => {
    expect(LoraConfig.safeParse(input).success).toBe(false);
  });
});
