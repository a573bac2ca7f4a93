import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { chooseByScore, scoresOf } from "./scores.ts";
import type { ScoreKind } from "./scores.ts";

installMatchers();

const W = [
  [-3, 2, 1, -3],
  [2, 3, -2, 1],
  [-4, 1, -3, -2],
];
const X = [
  [0, -2, 2, 0],
  [0, 0, 1, 0],
  [-2, -1, 2, -1],
  [0, 1, 2, -1],
];
const Y = X.map((x) => W.map((row) => row.reduce((sum, w, j) => sum + w * x[j]!, 0)));
const squares = (rows: readonly (readonly number[])[]): number[] =>
  rows[0]!.map((_, j) => rows.reduce((sum, row) => sum + row[j]! ** 2, 0));
const norms = { input: squares(X).map(Math.sqrt), output: squares(Y).map(Math.sqrt) };

const stored = {
  out_in: { layout: "out_in", inFeatures: 4, outFeatures: 3, values: W.flat() },
  in_out: { layout: "in_out", inFeatures: 4, outFeatures: 3, values: W[0]!.flatMap((_, j) => W.map((row) => row[j]!)) },
} as const;
const scores = (kind: ScoreKind, layout: keyof typeof stored = "out_in"): Float64Array =>
  scoresOf(kind, stored[layout], norms[kind === "rowSource" ? "output" : "input"]);
const printed = { absolute: 5e-7, relative: 0 };

it("the printed example has the printed squared norms", () => {
  expect(squares(X)).toEqual([4, 6, 13, 2]);
  expect(squares(Y)).toEqual([135, 252, 91]);
});

describe.each(["out_in", "in_out"] as const)("scores of the printed example, weights stored %s", (layout) => {
  it.each([
    ["column", [18, 14.696938, 21.633308, 8.485281], [3, 1, 0, 2]],
    ["rowSource", [104.57055, 126.996063, 95.39392], [2, 0, 1]],
    ["rowWanda", [18.747171, 19.973785, 24.094571], [0, 1, 2]],
  ] as const)("%s", (kind, expected, ascending) => {
    const found = scores(kind, layout);
    expect(found).toBeAllClose(expected, printed);
    for (let k = 0; k <= found.length; k++) {
      expect([...chooseByScore(found, k, "min")]).toEqual(ascending.slice(0, k).sort());
      expect([...chooseByScore(found, k, "max")]).toEqual(ascending.slice(found.length - k).sort());
    }
  });

  it("entries", () => {
    const found = scores("entries", layout);
    const pairs = (indices: Int32Array): string[] => [...indices].map((at) => `${Math.floor(at / 4)},${at % 4}`);
    const largest = chooseByScore(found, 3, "max");
    expect(pairs(largest)).toEqual(["1,1", "2,0", "2,2"].sort());
    expect(Math.min(...largest.map((at) => found[at]! * 1e6)) / 1e6).toBeCloseTo(7.348469, 6);
    // The authors' code marks ten entries here.
    const smallest = chooseByScore(found, 3, "min");
    expect(pairs(smallest)).toEqual(["1,3", "2,1", "2,3"]);
    expect(Math.max(...[...smallest].map((at) => found[at]!))).toBeCloseTo(2.828427, 6);
  });
});

describe("a choice", () => {
  const tied = Float64Array.of(5, 1, 5, 3, 1, 5, 1);

  it.each([
    ["max", 2, [0, 2]],
    ["max", 4, [0, 2, 3, 5]],
    ["min", 2, [1, 4]],
    ["min", 4, [1, 3, 4, 6]],
    ["mixed", 1, [0]],
    ["mixed", 2, [0, 1]],
    ["mixed", 3, [0, 1, 2]],
    ["mixed", 5, [0, 1, 2, 4, 5]],
    ["mixed", 7, [0, 1, 2, 3, 4, 5, 6]],
    ["max", 0, []],
  ] as const)("%s of %i: ascending, of equal scores the lower index, none twice", (selection, k, expected) => {
    expect([...chooseByScore(tied, k, selection)]).toEqual(expected);
  });

  it("takes different ones where all scores are equal", () => {
    expect([...chooseByScore(new Float64Array(4).fill(2), 3, "mixed")]).toEqual([0, 1, 2]);
    expect([...chooseByScore(new Float64Array(4), 4, "mixed")]).toEqual([0, 1, 2, 3]);
  });

  it("of millions takes a moment", () => {
    const many = Float64Array.from({ length: 768 * 3072 }, (_, i) => (i * 7919) % 1_000_003);
    const chosen = chooseByScore(many, 1000, "mixed");
    expect(chosen).toHaveLength(1000);
    expect(new Set(chosen).size).toBe(1000);
  });
});
