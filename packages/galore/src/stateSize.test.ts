import { describe, expect, it } from "vitest";
import { sizeOf } from "@peftjs/core";
import { GaloreConfig } from "./config.ts";
import { matrixRule } from "./matrixRule.ts";

/** Numbers that are kept for matrices of these shapes, the clocks aside. */
function kept(shapes: readonly (readonly [number, number])[], config: object): number {
  const parsed = GaloreConfig.parse(config);
  return shapes.reduce((sum, shape) => {
    const { clock: _, ...slots } = matrixRule({ shape, layout: "out_in", config: parsed }).state;
    return sum + Object.values(slots).reduce((own, slot) => own + sizeOf(slot.shape), 0);
  }, 0);
}

const times = <T>(count: number, items: readonly T[]): T[] => Array.from({ length: count }, () => items).flat();
const square = (n: number): [number, number] => [n, n];
const roberta = times(12, [...times(4, [square(768)]), [3072, 768], [768, 3072]] as [number, number][]);
const llama = times(32, [...times(4, [square(4096)]), [11008, 4096], [11008, 4096], [4096, 11008]] as [
  number,
  number,
][]);

describe("the state", () => {
  it.each([
    ["all linear layers of RoBERTa-base, r = 4", roberta, 4, 1_105_920],
    ["all linear layers of RoBERTa-base, r = 8", roberta, 8, 2_211_840],
    ["query and value of RoBERTa-base, r = 8", times(24, [square(768)]), 8, 442_368],
    ["query and value of RoBERTa-large, r = 8", times(48, [square(1024)]), 8, 1_179_648],
    ["LLaMA-7B, r = 1024", llama, 1024, 4_177_526_784],
  ])("of %s has m·r + 2·n·r numbers a matrix", (_, shapes, rank, expected) => {
    expect(kept(shapes, { rank })).toBe(expected);
  });

  it("is a fourth of that in bytes and four bits", () => {
    const shapes = [[3072, 768]] as const;
    const bytes = kept(shapes, { rank: 8, rule: "adamw8bit", basisBits: 4 });
    // Codes four and eight to an integer, a scale for 256 of them and of a basis a zero.
    expect(bytes).toBe(2 * (3072 * 2 + 96) + 768 + 24 * 2);
  });
});
