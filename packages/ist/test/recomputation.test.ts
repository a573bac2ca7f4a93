import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { historyOf, ist } from "../src/index.ts";
import { evenMatters, started, waves } from "./context.ts";

interface Run {
  readonly loss: "waves" | "evenMatters";
  readonly blocks: number;
  readonly seed: number;
  readonly active: string;
  readonly sets: readonly string[];
  readonly importance: readonly (readonly number[])[];
}

const file = new URL("../../../fixtures/ist/runs.json", import.meta.url);
const { runs } = JSON.parse(readFileSync(file, "utf8")) as { readonly runs: readonly Run[] };
const losses = { waves, evenMatters };

/** Blocks as a hexadecimal number: bit i is block i. */
function mask(blocks: readonly number[]): string {
  return blocks.reduce((sum, block) => sum + 2 ** block, 0).toString(16);
}

describe("1,001 steps beside fixtures/ist/make.py", () => {
  it.each(runs)("of $blocks blocks, loss $loss", async ({ loss, blocks, seed, active, sets, importance }) => {
    const { records, advance } = started(ist, { config: { seed }, blocks, loss: losses[loss] });
    await advance(1001);
    const { selections, updates } = historyOf(records);
    expect(selections.map((selection) => mask(selection.blocks))).toEqual(active.split(" "));
    expect(updates.map((update) => update.sets.map(mask).join(" "))).toEqual(sets);
    expect(updates).toHaveLength(100);
    for (const [u, update] of updates.entries()) {
      expect(update.step).toBe(10 * u + 11);
      // The file has twelve digits.
      update.importance.forEach((score, i) => expect(score).toBeCloseTo(importance[u]?.[i] as number, 10));
    }
    // The scores are not those of the start, or the comparison would say little.
    expect(Math.max(...(importance.at(-1) ?? []).map(Math.abs))).toBeGreaterThan(0.5);
  });
});
