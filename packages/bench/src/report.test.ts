import { describe, expect, it } from "vitest";
import { markdownReport, plainTable, publishedTable, summaryTable } from "./report.ts";
import type { RunResult } from "./results.ts";
import { standardDeviation } from "./statistics.ts";

const row = (fields: Partial<RunResult>): RunResult => ({
  method: "one",
  task: "a",
  seed: 0,
  metric: "accuracy",
  score: 0.5,
  trainableParameters: 1500,
  totalParameters: 100_000,
  stepMilliseconds: 10,
  peakMemoryBytes: 100 * 2 ** 20,
  seconds: 3,
  status: "ok",
  ...fields,
});
const failed = row({
  task: "b",
  metric: "",
  score: null,
  trainableParameters: null,
  totalParameters: null,
  stepMilliseconds: null,
  peakMemoryBytes: null,
  status: "error",
  error: "error [X] a | b",
});

describe("summaryTable", () => {
  it("averages over seeds, then over tasks", () => {
    const [heading, one] = summaryTable([
      row({}),
      row({ seed: 1, score: 0.6 }),
      row({ task: "b", metric: "matthews", score: 0.2, stepMilliseconds: 40, peakMemoryBytes: 300 * 2 ** 20 }),
    ]);
    expect(heading).toEqual([
      "method",
      "a (accuracy)",
      "b (matthews)",
      "mean",
      "trainable",
      "share",
      "ms/step",
      "peak memory",
    ]);
    expect(one).toEqual(["one", "55.0 ± 7.1", "20.0", "37.5", "1,500", "1.50 %", "20.0", "300 MiB"]);
  });

  it("shows a failed run and has no mean over fewer tasks", () => {
    const [, one] = summaryTable([row({}), failed]);
    expect(one).toEqual(["one (1 failed)", "50.0", "–", "–", "1,500", "1.50 %", "10.0", "100 MiB"]);
  });
});

describe("the reference row", () => {
  it("stands below the methods where a score is known", () => {
    const results = [row({}), row({ task: "b", score: 0.2 })];
    expect(summaryTable(results, { a: 0.4, b: 0.6 }).at(-1)).toEqual([
      "bag of words, all rows",
      "40.0",
      "60.0",
      "50.0",
      "–",
      "–",
      "–",
      "–",
    ]);
    expect(summaryTable(results, { a: 0.4 }).at(-1)?.slice(0, 4)).toEqual(["bag of words, all rows", "40.0", "–", "–"]);
    expect(summaryTable(results, {}).at(-1)?.[0]).toBe("one");
  });
});

describe("columns about plug-ins", () => {
  it("stand in the table when a run has something to put there", () => {
    const [heading, plain, steered] = summaryTable([
      row({}),
      row({ method: "two", learningShare: 0.25, pluginMilliseconds: 2 }),
      row({ method: "two", seed: 1, learningShare: 0.35, pluginMilliseconds: 4 }),
    ]);
    expect(heading?.slice(-2)).toEqual(["learning per step", "plug-in ms/step"]);
    expect(plain?.slice(-3)).toEqual(["100 MiB", "–", "–"]);
    expect(steered?.slice(-3)).toEqual(["100 MiB", "30.0 %", "3.0"]);
  });

  it("leave the reference row as long as the others", () => {
    const rows = summaryTable([row({ learningShare: 1, pluginMilliseconds: 0 })], { a: 0.4 });
    expect(new Set(rows.map(({ length }) => length)).size).toBe(1);
  });
});

describe("the column of frozen weights", () => {
  it("stands in the table when a row holds them otherwise than in float32", () => {
    const rows = summaryTable([row({}), row({ method: "one+int8", frozen: "int8" })]);
    expect(rows.map((cells) => cells.at(-1))).toEqual(["frozen", "float32", "int8"]);
  });
});

describe("published scores", () => {
  const published = { source: "Of others.", scores: { one: 83.25, three: 90 } };

  it("stand beside the means of the rows that ran", () => {
    const results = [row({}), row({ task: "b", score: 0.6 }), row({ method: "two" })];
    expect(publishedTable(results, published)).toEqual([
      ["method", "mean here", "published"],
      ["one", "55.0", "83.25"],
    ]);
    expect(publishedTable([row({}), failed], published)[1]).toEqual(["one", "–", "83.25"]);
  });

  it("are a section of the report", () => {
    const text = markdownReport({ title: "T", runs: [], results: [row({})], published });
    expect(text).toContain("## Published\n\nOf others.\n\n| method | mean here | published |");
    expect(markdownReport({ title: "T", runs: [], results: [row({})] })).not.toContain("Published");
  });
});

describe("standardDeviation", () => {
  it("is the sample's", () => {
    expect(standardDeviation([1, 2, 3, 4])).toBeCloseTo(1.2909944, 6);
    expect(standardDeviation([1])).toBeNull();
  });
});

describe("markdownReport", () => {
  it("lists every run and the whole error", () => {
    const text = markdownReport({ title: "T", runs: [], results: [row({}), failed] });
    expect(text).toContain("| one | a | 0 | 50.0 accuracy | 10.0 | 100 | 3 | ok |");
    expect(text).toContain("**one · b · seed 0**\n\n```text\nerror [X] a | b\n```");
  });
});

describe("plainTable", () => {
  it("aligns numbers to the right", () => {
    expect(
      plainTable([
        ["m", "x"],
        ["long", "1"],
        ["a", "22"],
      ]),
    ).toBe("m      x\nlong   1\na     22");
  });
});
