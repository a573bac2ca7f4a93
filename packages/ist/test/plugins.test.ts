import { peft } from "@peftjs/core";
import { lora } from "@peftjs/method-lora-family";
import { tinyModel } from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { historyOf, ist, rst, shares } from "../src/index.ts";
import { evenMatters, started, waves } from "./context.ts";

describe("ist", () => {
  it("compares before steps 11, 21, … on a batch of its own, weakening half of the blocks of the model", async () => {
    const learning = [1, 2, 4, 5, 7, 8, 9, 11];
    const config = { importanceSource: "validation", response: "output", suppression: 0.5 } as const;
    const { advance, asked, records } = started(ist, { config, blocks: 12, learning, loss: waves });
    await advance(31);
    expect(asked.map(({ index }) => index)).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
    const sets = historyOf(records).updates.flatMap((update) => update.sets);
    for (const [k, { responseScale, ...rest }] of asked.entries()) {
      expect(rest).toEqual({ source: "validation", rows: 16, response: "output", index: Math.floor(k / 3) });
      const weak = [...Array(12).keys()].filter((block) => responseScale?.[block] === 0.5);
      expect(weak).toHaveLength(4);
      expect(weak).toEqual(sets[k]);
      for (const block of weak) expect(learning).toContain(block);
      expect(responseScale?.filter((scale) => scale === 1)).toHaveLength(8);
    }
  });

  it("records what it chose among which blocks, and what it compared", async () => {
    const { advance, records } = started(ist, { blocks: 12, learning: [0, 2, 3, 5], loss: waves });
    const choices = await advance(11);
    expect(records.map(({ step }) => step)).toEqual([...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 11, 11]);
    expect(records[0]).toEqual({ step: 1, blocks: choices[0]?.blocks, among: [0, 2, 3, 5] });
    expect(records[11]).toEqual({ step: 11, blocks: choices[10]?.blocks });
    expect(Object.keys(records[10] ?? {})).toEqual(["sets", "losses", "importance", "applied", "step"]);
    for (const choice of choices) {
      expect(choice?.blocks).toHaveLength(1);
      expect([0, 2, 3, 5]).toContain(choice?.blocks?.[0]);
    }
    expect(JSON.parse(JSON.stringify(records))).toEqual(records);
  });

  // Over 200 seeds: even blocks end at 0.98 to 1.93 and learn in 28 to 39 % of the steps, odd ones at −2.03 to −0.83 and 10 to 23 %.
  it.each([0, 1, 2])("finds the blocks that matter, seed %i", async (seed) => {
    const { advance, records } = started(ist, { config: { seed }, blocks: 8, loss: evenMatters });
    await advance(1000);
    const history = historyOf(records);
    const importance = history.updates.at(-1)?.importance ?? [];
    for (const [block, share] of shares(history).entries()) {
      const even = block % 2 === 0;
      expect((importance[block] as number) * (even ? 1 : -1)).toBeGreaterThan(0.8);
      expect(share).toBeGreaterThan(even ? 0.26 : 0.1);
      expect(share).toBeLessThan(even ? 0.4 : 0.24);
    }
  });

  it.each([1, 10, 11, 137])("goes on from its state after step %i as if never stopped", async (stop) => {
    const fake = { blocks: 12, loss: waves };
    const whole = started(ist, { config: { resampleEvery: 4 }, ...fake });
    await whole.advance(200);
    const before = started(ist, { config: { resampleEvery: 4 }, ...fake });
    await before.advance(stop);
    const state = JSON.parse(JSON.stringify(before.state())) as ReturnType<typeof before.state>;
    const after = started(ist, { config: { resampleEvery: 4 }, ...fake, state });
    await after.advance(200);
    expect([...before.records, ...after.records]).toEqual(whole.records);
    expect([...before.asked, ...after.asked]).toEqual(whole.asked);
    expect(after.state()).toEqual(whole.state());
  });

  it("keeps nothing suppressed when a loss throws, and compares the same candidates again", async () => {
    let fails = true;
    const loss = (index: number, scales: readonly number[]): number => {
      if (fails && index === 1 && scales[0] === 1) throw new Error("no memory");
      return waves(index, scales);
    };
    const untroubled = started(ist, { blocks: 8, loss: waves });
    await untroubled.advance(30);
    const { advance, records, asked } = started(ist, { blocks: 8, loss });
    await advance(20);
    await expect(advance(21)).rejects.toThrow("no memory");
    fails = false;
    await advance(30);
    expect(records).toEqual(untroubled.records);
    expect(asked.slice(-3)).toEqual(untroubled.asked.slice(-3));
  });

  it("leaves the importance when a loss is not finite, and says so once", async () => {
    const loss = (index: number, scales: readonly number[]): number =>
      index === 1 || index === 2 ? Number.NaN : waves(index, scales);
    const { advance, records, warnings } = started(ist, { blocks: 8, loss });
    await advance(41);
    const { updates } = historyOf(records);
    expect(updates.map(({ applied }) => applied)).toEqual([true, false, false, true]);
    expect(updates[2]?.importance).toEqual(updates[0]?.importance);
    expect(updates[3]?.importance).not.toEqual(updates[0]?.importance);
    expect(updates[1]?.losses).toEqual([null, null, null]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("before step 21: the losses of its candidates are NaN, NaN, NaN");
  });

  it("chooses nothing where all blocks learn", async () => {
    const { advance, asked, choosesBlocks } = started(ist, { config: { updateFraction: 1, candidates: 0 }, blocks: 4 });
    expect(choosesBlocks).toBe(false);
    for (const choice of await advance(30)) expect(choice).toEqual({});
    expect(asked).toEqual([]);
    expect(started(ist, { blocks: 4 }).choosesBlocks).toBe(true);
  });

  it("refuses blocks in which nothing can be weakened, unless it compares nothing", () => {
    const fake = { blocks: 4, responsive: [0, 1, 2] };
    expect(() => started(ist, fake)).toThrow(
      expect.objectContaining({ code: "RESPONSE_MISSING", message: expect.stringMatching(/in block 3: .*"rst"/u) }),
    );
    expect(() => started(ist, { config: { candidates: 0 }, ...fake })).not.toThrow();
    expect(() => started(rst, fake)).not.toThrow();
  });

  it("refuses the state of a model with other blocks", async () => {
    const { advance, state } = started(ist, { blocks: 8 });
    await advance(3);
    expect(() => started(ist, { blocks: 12, state: state() })).toThrow(
      expect.objectContaining({ code: "RESUME_MISMATCH" }),
    );
  });
});

describe("rst", () => {
  it("draws every block equally often and compares nothing", async () => {
    const { advance, records, asked } = started(rst, { blocks: 8 });
    await advance(2000);
    const bound = 3 * Math.sqrt((0.25 * 0.75) / 2000);
    for (const share of shares(historyOf(records))) expect(Math.abs(share - 0.25)).toBeLessThan(bound);
    expect(asked).toEqual([]);
    expect(records).toHaveLength(2000);
  });

  it("goes on from its state as if never stopped", async () => {
    const whole = started(rst, { config: { resampleEvery: 3 }, blocks: 12 });
    await whole.advance(40);
    const before = started(rst, { config: { resampleEvery: 3 }, blocks: 12 });
    await before.advance(17);
    const after = started(rst, { config: { resampleEvery: 3 }, blocks: 12, state: before.state() });
    await after.advance(40);
    expect([...before.records, ...after.records]).toEqual(whole.records);
  });
});

describe("both", () => {
  it("exclude each other", () => {
    const one = peft(tinyModel("bert")).use(lora).use(ist);
    expect(() => one.use(rst)).toThrow(expect.objectContaining({ code: "PLUGIN_CONFLICT" }));
  });
});
