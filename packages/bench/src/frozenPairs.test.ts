import { describe, expect, it } from "vitest";
import { differenceTable, frozenPairs } from "./frozenPairs.ts";
import { lossPicture } from "./lossPicture.ts";
import type { RunResult, RunSpec } from "./results.ts";

const spec = (fields: Partial<RunSpec>): RunSpec => ({
  ...{ method: "one", methodConfig: {}, task: "a", seed: 0, model: null, engine: "onnx", threads: null },
  ...{ learningRate: 0.1, weightDecay: 0, warmupFraction: 0, batchSize: 8, maxLength: 8 },
  ...{ trainRows: 8, epochs: 1, devRows: 8, testRows: 8 },
  ...fields,
});
const held = (fields: Partial<RunSpec>): RunSpec =>
  spec({ method: "one+int8", variantOf: "one", frozen: "int8", ...fields });

const result = ({ method, task, seed }: RunSpec, fields: Partial<RunResult> = {}): RunResult => ({
  ...{ method, task, seed, metric: "accuracy", score: 0.5, trainableParameters: 1, totalParameters: 2 },
  ...{ stepMilliseconds: 10, peakMemoryBytes: 100, seconds: 3, status: "ok", losses: [3, 1] },
  ...fields,
});

/** Two seeds of task a, one of task b, and a row that has no partner. */
const runs = [spec({}), held({}), spec({ seed: 1 }), held({ seed: 1 }), spec({ task: "b" }), held({ task: "b" })];
const figures: Partial<RunResult>[] = [
  { score: 0.5 },
  { score: 0.52, stepMilliseconds: 5, peakMemoryBytes: 40, losses: [3, 1.5] },
  { score: 0.6 },
  { score: 0.58, stepMilliseconds: 6, peakMemoryBytes: 60, losses: [3, 0.75] },
  { score: 0.2 },
  { score: 0.19, stepMilliseconds: 4, peakMemoryBytes: 50, losses: [3, 1.25] },
];
const results = runs.map((run, at) => result(run, figures[at]));

describe("frozenPairs", () => {
  it("finds the runs that differ in nothing but how frozen weights are held, whatever their rows are called", () => {
    const pairs = frozenPairs(runs, results);
    expect(pairs.map(({ exact, held }) => [exact, held])).toEqual([
      [results[0], results[1]],
      [results[2], results[3]],
      [results[4], results[5]],
    ]);
  });

  it.each<[string, Partial<RunSpec>]>([
    ["another learning rate", { learningRate: 0.2 }],
    ["another method", { variantOf: "two" }],
    ["a plug-in", { plugins: { plug: {} } }],
    ["another setting", { methodConfig: { rank: 2 } }],
    ["another seed", { seed: 7 }],
  ])("takes no run with %s", (_, fields) => {
    const [one, other] = [spec({}), held(fields)];
    expect(frozenPairs([one, other], [result(one), result(other)])).toEqual([]);
  });

  it("leaves out a pair of which one run failed", () => {
    const [one, other] = [spec({}), held({})];
    expect(frozenPairs([one, other], [result(one), result(other, { status: "error", score: null })])).toEqual([]);
    expect(frozenPairs([one, other], [result(one)])).toEqual([]);
  });
});

describe("differenceTable", () => {
  it("compares pair by pair, then averages over seeds, then over tasks", () => {
    expect(differenceTable(frozenPairs(runs, results))).toEqual([
      ["row", "against", "a", "b", "mean", "last loss", "ms/step", "peak memory"],
      // a: +2 and −2 points; b: −1. Losses: +0.5, −0.25, +0.25.
      ["one+int8", "one", "+0.0 ± 2.8", "-1.0", "-0.5", "+0.167", "0.50 ×", "0.50 ×"],
    ]);
  });

  it("ends with all rows where there are several", () => {
    const more = [spec({ method: "two" }), held({ method: "two+int8", variantOf: "two" })];
    const scores = [0.5, 0.53];
    const table = differenceTable(
      frozenPairs(
        [...runs, ...more],
        [...results, ...more.map((run, at) => result(run, { score: scores[at] as number }))],
      ),
    );
    expect(table.map(([row]) => row)).toEqual(["row", "one+int8", "two+int8", "all"]);
    expect(table[2]).toEqual(["two+int8", "two", "+3.0", "–", "–", "+0.000", "1.00 ×", "1.00 ×"]);
    // (2 − 2 + 3) / 3 and −1.
    expect(table[3]?.slice(2, 5)).toEqual(["+1.0 ± 2.6", "-1.0", "+0.0"]);
  });
});

describe("lossPicture", () => {
  it("has a panel for every pair, seeds beside each other", () => {
    const picture = lossPicture(frozenPairs(runs, results)) ?? "";
    expect(picture.match(/<polyline/g)).toHaveLength(6);
    expect([...picture.matchAll(/translate\((\d+) (\d+)\)/g)].map(([, x, y]) => [x, y])).toEqual([
      ["0", "24"],
      ["260", "24"],
      ["0", "174"],
    ]);
    expect(picture).toContain("one+int8 · a · seed 1");
    expect(picture).not.toMatch(/NaN|Infinity|undefined/);
    // The largest loss of a row of panels at the top, the smallest at the bottom; both curves start at 3.
    expect(picture.match(/points="36\.0,22\.0/g)).toHaveLength(6);
    expect(picture.match(/252\.0,136\.0"/g)).toHaveLength(2);
  });

  it("is none without losses", () => {
    const bare = results.map(({ losses: _, ...rest }) => rest);
    expect(lossPicture(frozenPairs(runs, bare))).toBeNull();
    expect(lossPicture([])).toBeNull();
  });
});
