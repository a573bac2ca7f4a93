import { parseConfig } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { budgetOf, sift } from "./index.ts";
import type { SiftConfig } from "./index.ts";

type Layers = readonly (readonly [inFeatures: number, outFeatures: number])[];

const configured = (given: Partial<SiftConfig>): SiftConfig => parseConfig(sift, given);

/** Trained entries of `blocks` blocks. */
function total(
  layers: Layers,
  { blocks, biased, ...given }: { blocks: number; biased: boolean } & Partial<SiftConfig>,
): number {
  const config = configured(given);
  const block = layers.map(([inFeatures, outFeatures]) => {
    const { weight, bias } = budgetOf({ inFeatures, outFeatures, bias: biased ? "bias" : null }, config);
    return weight + bias;
  });
  return blocks * block.reduce((sum, count) => sum + count, 0);
}

const square = (size: number, count: number): Layers => Array.from({ length: count }, () => [size, size] as const);
const llama = (hidden: number, inner: number): Layers => [
  ...square(hidden, 4),
  ...[[hidden, inner] as const, [hidden, inner] as const, [inner, hidden] as const],
];

describe("the number of trained entries", () => {
  it.each([
    [0.008, [1024, 1024], 8_389, 9],
    [0.05, [4096, 4096], 838_861, 205],
    [0.05, [4096, 11008], 2_254_439, 551],
    [0.2, [768, 768], 117_965, 154],
    [1, [768, 64], 49_152, 64],
  ] as const)("rate %f of %j", (rate, [inFeatures, outFeatures], weight, bias) => {
    expect(budgetOf({ inFeatures, outFeatures, bias: "bias" }, configured({ rate }))).toEqual({ weight, bias });
  });

  it("is that of whole models", () => {
    const published = [
      total(square(1024, 4), { blocks: 24, biased: true, rate: 0.008 }),
      total(llama(4096, 11008), { blocks: 32, biased: false, rate: 0.05 }),
      total(llama(5120, 13824), { blocks: 40, biased: false, rate: 0.04 }),
      total(llama(6656, 17920), { blocks: 60, biased: false, rate: 0.03 }),
      total(square(768, 2), { blocks: 12, biased: true, rate: 0.2 }),
    ];
    expect(published).toEqual([806_208, 323_800_352, 507_511_040, 963_064_920, 2_834_856]);
  });

  it("is LoRA's where a rank is given, without biases and never more than there are", () => {
    const config = configured({ loraRank: 8 });
    expect(config.rate).toBeNull();
    expect(budgetOf({ inFeatures: 768, outFeatures: 64, bias: "bias" }, config)).toEqual({ weight: 8 * 832, bias: 0 });
    expect(budgetOf({ inFeatures: 6, outFeatures: 4, bias: null }, config)).toEqual({ weight: 24, bias: 0 });
  });

  it("has a default, and one of two meanings", () => {
    expect(configured({}).rate).toBe(0.008);
    expect(() => configured({ rate: 0.1, loraRank: 2 })).toThrow("Expected rate or loraRank, not both");
    expect(() => configured({ rate: 1.1 })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }) as Error);
  });
});
