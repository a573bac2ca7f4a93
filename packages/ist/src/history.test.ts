import { describe, expect, it } from "vitest";
import { IstConfig, istPlan } from "./config.ts";
import { BlockController } from "./controller.ts";
import { csv, History } from "./history.ts";
import type { HistoryJson } from "./history.ts";
import { historyPage, importanceChart, learningMap } from "./picture.ts";

function recorded(steps: number): History {
  const history = new History(8);
  const controller = new BlockController(istPlan(IstConfig.parse({}), 8), { start: 1, hooks: [history] });
  for (let step = 0; step < steps; step++) {
    const sets = controller.candidates();
    if (sets.length > 0) controller.learn(sets.map((set) => set.reduce((sum, block) => sum + 0.01 * block, 1)));
    controller.select();
  }
  return history;
}

describe("History", () => {
  it("is a table of steps and blocks", () => {
    const { learned, importance, weights, shares } = recorded(25);
    expect(learned.steps).toEqual([...Array(25).keys()]);
    for (const row of learned.rows) expect(row.reduce((sum, value) => sum + value, 0)).toBe(2);
    expect(importance.steps).toEqual([0, 10, 20]);
    expect(importance.rows[0]).toEqual(Array(8).fill(0));
    expect(weights.rows[0]).toEqual(Array(8).fill(0.5));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(2, 12);
  });

  it("survives JSON, and a resume drops what came after the checkpoint", () => {
    const json = JSON.parse(JSON.stringify(recorded(25))) as HistoryJson;
    expect(new History(8, { json, step: 25 }).toJSON()).toEqual(recorded(25).toJSON());
    expect(new History(8, { json, step: 20 }).toJSON()).toEqual(recorded(20).toJSON());
    expect(() => new History(4, { json, step: 25 })).toThrow("of 8 blocks, but 4 blocks can learn");
  });

  it("writes comma-separated values", () => {
    const history = new History(3);
    history.onLayersSelected({ step: 0, blocks: [0, 2] });
    history.onLayersSelected({ step: 1, blocks: [1] });
    expect(csv(history.learned, 3)).toBe("step,block0,block1,block2\n0,1,0,1\n1,0,1,0\n");
    expect(csv(history.importance, 3)).toBe("step,block0,block1,block2\n0,0,0,0\n");
  });
});

describe("pictures", () => {
  it("have a curve per block through its importance", () => {
    const svg = importanceChart(recorded(25));
    const curves = [...svg.matchAll(/points="([^"]*)"/gu)].map(([, points = ""]) => points.split(" "));
    expect(curves).toHaveLength(8);
    for (const points of curves) expect(points.map((point) => point.split(",")[0])).toEqual(["52.0", "340.0", "628.0"]);
    // All begin at zero; the last block costs most when suppressed, so its curve ends highest (smallest y).
    const ends = curves.map((points) => Number(points.at(-1)?.split(",")[1]));
    expect(new Set(curves.map(([start]) => start)).size).toBe(1);
    expect(ends.indexOf(Math.min(...ends))).toBeGreaterThan(3);
  });

  it("have a cell per block and step that it learned in", () => {
    const history = new History(3);
    history.onLayersSelected({ step: 0, blocks: [0, 2] });
    history.onLayersSelected({ step: 1, blocks: [1] });
    expect([...learningMap(history).matchAll(/ d="([^"]*)"/gu)].map(([, path]) => path)).toEqual([
      ...["M0 0h1v1h-1z", "M0 2h1v1h-1z", "M1 1h1v1h-1z"],
    ]);
  });

  it("stay small for long runs, and need a step at least of nothing", () => {
    const page = historyPage(recorded(3000));
    expect(page.length).toBeLessThan(150_000);
    expect(page.match(/<tr>/gu)).toHaveLength(9);
    expect(page).not.toMatch(/NaN|undefined|src=/u);
    expect(historyPage(new History(2))).not.toMatch(/NaN|undefined/u);
  });
});
