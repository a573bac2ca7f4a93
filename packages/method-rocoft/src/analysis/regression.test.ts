import { matrix } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { accuracyOf, fewShot, kernelRegression, meanAndDeviation } from "./regression.ts";

installMatchers();

const of = (rows: number[][]): HostMatrix =>
  matrix(Float64Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);

/** The worked example: the kernel of f₁ − f₀ on three inputs, of which two are learned; the first is of class 1. */
const binary = {
  train: of([
    [56, 52],
    [52, 81],
  ]),
  cross: of([[12], [28]]),
  labels: [1, 0],
  outputs: 1,
};

describe("kernel regression of one output", () => {
  it.each([
    ["least squares", { kind: "leastSquares" as const }, -0.779476, 0],
    ["ridge", { kind: "leastSquares" as const, ridge: 0.1 }, -0.444468, 0],
    [
      "from the first outputs",
      { kind: "leastSquares" as const, adjustForInit: { train: [0, -7], test: [-5] } },
      -2.172489,
      0,
    ],
    ["logistic, c = 0.01", { kind: "logistic" as const, c: 0.01 }, 2.398289, 1],
    ["logistic, c = 1", { kind: "logistic" as const, c: 1 }, 10.043499, 1],
  ])("%s is the worked example's", (_, solver, score, prediction) => {
    const { scores, predictions } = kernelRegression(binary, solver);
    expect(scores.data[0]).toBeCloseTo(score, 6);
    expect([...predictions]).toEqual([prediction]);
  });

  it("counts the first outputs 1/s", () => {
    const halved = { train: [0, -3.5], test: [-2.5] };
    const scaled = { train: [0, -7], test: [-5], scale: 2 };
    const score = (adjustForInit: typeof halved): HostMatrix =>
      kernelRegression(binary, { kind: "leastSquares", adjustForInit }).scores;
    expect(score(scaled).data).toEqual(score(halved).data);
  });
});

describe("kernel regression of several outputs", () => {
  /** Three examples whose kernel is the identity: each is its own evidence. */
  const train = of(Array.from({ length: 6 }, (_, i) => Array.from({ length: 6 }, (_, j) => (i === j ? 1 : 0))));
  /** Two test examples, like the second and like the first training example; outputs are kept apart. */
  const cross = of([
    [0, 0, 2, 0],
    [0, 0, 0, 2],
    [3, 0, 0, 0],
    [0, 3, 0, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ]);

  it("takes one-hot targets and the largest score", () => {
    const { scores, predictions } = kernelRegression({ train, cross, labels: [0, 1, 1], outputs: 2 });
    expect(scores.data).toBeAllClose([0, 3, 2, 0], { absolute: 1e-12, relative: 0 });
    expect([...predictions]).toEqual([1, 0]);
  });

  it("is classified by logistic regression on rows, too", () => {
    const { predictions } = kernelRegression(
      { train, cross, labels: [0, 1, 1], outputs: 2 },
      { kind: "logistic", c: 1 },
    );
    expect([...predictions]).toEqual([1, 0]);
  });

  it("refuses kernels of other examples", () => {
    expect(() => kernelRegression({ train, cross, labels: [0, 1], outputs: 2 })).toThrow(
      /2 labels and 2 outputs an example need kernels of 4 rows, got 6 × 6 for training and 6 × 4/u,
    );
  });
});

describe("few examples of each class", () => {
  const labels = Array.from({ length: 60 }, (_, i) => i % 3);

  it("are as many of each class, the same for a seed and others for another", () => {
    const rows = fewShot(labels, { classes: 3, perClass: 4, seed: 1 });
    expect(rows.map((row) => labels[row])).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    expect(new Set(rows).size).toBe(12);
    expect(fewShot(labels, { classes: 3, perClass: 4, seed: 1 })).toEqual(rows);
    expect(fewShot(labels, { classes: 3, perClass: 4, seed: 2 })).not.toEqual(rows);
    // More of each class keep the fewer ones.
    const more = fewShot(labels, { classes: 3, perClass: 8, seed: 1 });
    expect(more).toEqual(expect.arrayContaining(rows));
    expect(() => fewShot(labels, { classes: 4, perClass: 4, seed: 1 })).toThrow(/Class 3 has 0 examples, but 4/u);
  });
});

describe("figures", () => {
  it("are shares, means and sample deviations", () => {
    expect(accuracyOf([1, 0, 2, 2], [1, 1, 2, 0])).toBe(0.5);
    expect(meanAndDeviation([1, 3])).toEqual({ mean: 2, deviation: Math.SQRT2 });
    expect(meanAndDeviation([4])).toEqual({ mean: 4, deviation: null });
  });
});
