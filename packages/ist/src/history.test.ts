import type { PluginRecord } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { started } from "../test/context.ts";
import { historyOf, importance, learned, shares, weights } from "./history.ts";
import type { History } from "./history.ts";
import { ist } from "./ist.ts";
import { historyPage, importanceChart, learningMap } from "./picture.ts";
import { reportFiles } from "./report.ts";

/** What a run on 8 blocks records, as it comes out of a file. */
async function recorded(steps: number): Promise<PluginRecord[]> {
  const loss = (_: number, scales: readonly number[]): number =>
    scales.reduce((sum, scale, block) => sum + 0.01 * block * (1 - scale), 1);
  const { records, advance } = started(ist, { config: { seed: 1 }, blocks: 8, loss });
  await advance(steps);
  return JSON.parse(JSON.stringify(records)) as PluginRecord[];
}

const short: History = {
  blocks: [0, 1, 3],
  selections: [
    { step: 1, blocks: [0, 3] },
    { step: 2, blocks: [1] },
  ],
  updates: [],
};

describe("historyOf", () => {
  it("is a table of steps and blocks", async () => {
    const history = historyOf(await recorded(25));
    expect(history.blocks).toEqual([...Array(8).keys()]);
    expect(learned(history).steps).toEqual([...Array(25).keys()].map((step) => step + 1));
    for (const row of learned(history).rows) expect(row.reduce((sum, value) => sum + value, 0)).toBe(2);
    expect(importance(history).steps).toEqual([1, 11, 21]);
    expect(importance(history).rows[0]).toEqual(Array(8).fill(0));
    expect(weights(history).rows[0]).toEqual(Array(8).fill(0.5));
    expect(shares(history).reduce((sum, share) => sum + share, 0)).toBeCloseTo(2, 12);
  });
});

describe("reportFiles", () => {
  it("has the importance where it was compared", async () => {
    const records = await recorded(25);
    const files = reportFiles("ist", records);
    expect(Object.keys(files).sort()).toEqual([
      ...["ist-blocks.csv", "ist-history.html", "ist-history.json", "ist-importance.csv", "ist-weights.csv"],
    ]);
    expect(JSON.parse(files["ist-history.json"] as string)).toEqual(historyOf(records));
    expect(files["ist-importance.csv"]?.split("\n").slice(0, 2)).toEqual([
      "step,block0,block1,block2,block3,block4,block5,block6,block7",
      "1,0,0,0,0,0,0,0,0",
    ]);
    const few = reportFiles("rst", records.slice(0, 3));
    expect(Object.keys(few).sort()).toEqual(["rst-blocks.csv", "rst-history.html", "rst-history.json"]);
    expect(few["rst-history.html"]).not.toContain("mportance");
  });

  it("names blocks by their numbers in the model", () => {
    const records = [
      { step: 1, blocks: [0, 3], among: [0, 1, 3] },
      { step: 2, blocks: [1] },
    ];
    expect(historyOf(records)).toEqual(short);
    expect(reportFiles("rst", records)["rst-blocks.csv"]).toBe("step,block0,block1,block3\n1,1,0,1\n2,0,1,0\n");
  });
});

describe("pictures", () => {
  it("have a curve per block through its importance", async () => {
    const svg = importanceChart(historyOf(await recorded(25)));
    const curves = [...svg.matchAll(/points="([^"]*)"/gu)].map(([, points = ""]) => points.split(" "));
    expect(curves).toHaveLength(8);
    for (const points of curves) expect(points.map((point) => point.split(",")[0])).toEqual(["52.0", "340.0", "628.0"]);
    // All begin at zero; the last block costs most when suppressed, so its curve ends highest (smallest y).
    const ends = curves.map((points) => Number(points.at(-1)?.split(",")[1]));
    expect(new Set(curves.map(([start]) => start)).size).toBe(1);
    expect(ends.indexOf(Math.min(...ends))).toBeGreaterThan(3);
  });

  it("have a cell per block and step that it learned in", () => {
    expect([...learningMap(short).matchAll(/ d="([^"]*)"/gu)].map(([, path]) => path)).toEqual([
      ...["M0 0h1v1h-1z", "M0 2h1v1h-1z", "M1 1h1v1h-1z"],
    ]);
  });

  it("stay small for long runs, and need no step", async () => {
    const page = historyPage(historyOf(await recorded(3000)));
    expect(page.length).toBeLessThan(150_000);
    expect(page.match(/<tr>/gu)).toHaveLength(9);
    expect(page).not.toMatch(/NaN|undefined|src=/u);
    expect(historyPage(short)).toMatch(/<td><b style="color:hsl[^"]*">3<.b><.td><td>50.0 %<.td>/u);
    expect(historyPage(historyOf([]))).not.toMatch(/NaN|undefined/u);
  });
});
