import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { expectClose } from "../test/close.ts";
import { accuracy, macroF1, matthews, pearson, schedule, spearman } from "./index.ts";

interface Reference {
  readonly schedules: Readonly<Record<string, number[]>>;
  readonly metrics: { labels: number[]; predictions: number[]; x: number[]; y: number[] } & Record<
    "accuracy" | "macroF1" | "matthews" | "pearson" | "spearman",
    number
  >;
}
const reference = JSON.parse(
  readFileSync(new URL("../../../fixtures/train/reference.json", import.meta.url), "utf8"),
) as Reference;
const { labels, predictions, x, y, ...expected } = reference.metrics;

describe("metrics", () => {
  it("equal their definitions written in numpy", () => {
    const actual = [accuracy, macroF1, matthews].map((metric) => metric(labels, predictions));
    expectClose(
      [...actual, pearson(x, y), spearman(x, y)],
      [expected.accuracy, expected.macroF1, expected.matthews, expected.pearson, expected.spearman],
      1e-12,
    );
  });

  it("share ranks among ties", () => {
    // Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    expectClose([spearman([5, 5, 6, 7], [1, 2, 3, 4])], [4.5 / Math.sqrt(4.5 * 5)], 1e-12);
  });

  it("are zero where a correlation is undefined", () => {
    expect(pearson([1, 1, 1], [1, 2, 3])).toBe(0);
    expect(matthews([0, 1, 0], [1, 1, 1])).toBe(0);
    expect(accuracy([], [])).toBeNaN();
  });
});

describe("schedule", () => {
  it.each([
    ["constant", { warmupSteps: 3, totalSteps: 12 }, "constant"],
    ["linear", { warmupSteps: 3, totalSteps: 12 }, "linear"],
    ["cosine", { warmupSteps: 3, totalSteps: 12 }, "cosine"],
    ["cosine", { warmupSteps: 0, totalSteps: 7 }, "cosineNoWarmup"],
  ] as const)("%s %o equals transformers'", (name, options, key) => {
    const curve = reference.schedules[key] as number[];
    const rate = schedule(name, options);
    expectClose(
      curve.map((_, done) => rate(done)),
      curve,
      1e-12,
    );
  });

  it("warms up and goes down as the published runs of sparse tuning do", () => {
    // 170,300 rows in batches of 16, three epochs, 100 steps of warm-up to 2e-4.
    const rate = schedule("linear", { warmupSteps: 100, totalSteps: 31_932 });
    expectClose(
      [0, 50, 100, 16_016, 31_932].map((done) => 2e-4 * rate(done)),
      [0, 1e-4, 2e-4, 1e-4, 0],
      1e-12,
    );
  });
});
