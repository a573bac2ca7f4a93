import { createGenerator } from "@peftjs/core";
import type { Generator } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { subsets } from "./config.ts";
import { draw, drawCandidates, samplers } from "./draw.ts";
import type { Draw } from "./draw.ts";
import { logistic } from "./importance.ts";

const example = [0, -1, 1, -2].map(logistic);
const afterTwoUpdates = [
  0.31001626, -0.06424097, 0.18238055, -0.19241211, 0.18586328, -0.30351829, 0.19241211, -0.31001626,
];

/** P(i is drawn), by going through every order of draws. */
function inclusion(weights: readonly number[], count: number): number[] {
  const result = weights.map(() => 0);
  const walk = (drawn: readonly number[], probability: number): void => {
    if (drawn.length === count) {
      for (const i of drawn) result[i] = (result[i] as number) + probability;
      return;
    }
    const left = [...weights.keys()].filter((i) => !drawn.includes(i));
    const total = left.reduce((sum, i) => sum + (weights[i] as number), 0);
    for (const i of left) walk([...drawn, i], (probability * (weights[i] as number)) / total);
  };
  walk([], 1);
  return result;
}

/** P(i is among the `count` largest uᵢ ~ U(0, wᵢ)) = ∫ P(fewer than `count` others are higher than h) dh / wᵢ, midpoint rule. */
function inclusionOfHeights(weights: readonly number[], count: number, steps = 20_000): number[] {
  return weights.map((weight, i) => {
    let sum = 0;
    for (let step = 0; step < steps; step++) {
      const height = (weight * (step + 0.5)) / steps;
      // P(exactly n of the others are higher), n = 0, 1, …
      let higher = [1];
      for (const other of weights.filter((_, j) => j !== i)) {
        const p = Math.max(0, 1 - height / other);
        higher = [...higher, 0].map((value, n) => value * (1 - p) + (n > 0 ? (higher[n - 1] as number) * p : 0));
      }
      sum += higher.slice(0, count).reduce((total, value) => total + value, 0);
    }
    return sum / steps;
  });
}

interface Trial {
  readonly weights: readonly number[];
  readonly count: number;
  readonly draws: number;
  readonly seed: number;
}

function frequencies(sample: Draw, { weights, count, draws, seed }: Trial): number[] {
  const generator = createGenerator(seed);
  const counts = weights.map(() => 0);
  for (let k = 0; k < draws; k++) {
    for (const i of sample(weights, count, generator)) counts[i] = (counts[i] as number) + 1;
  }
  return counts.map((value) => value / draws);
}

/** Four standard deviations of a frequency around its probability. */
function expectFrequencies(found: readonly number[], expected: readonly number[], draws: number): void {
  expected.forEach((p, i) =>
    expect(Math.abs((found[i] as number) - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / draws) + 1e-12),
  );
}

/** A generator whose uniform numbers are given. */
function given(...values: number[]): Generator {
  const uniform = (n: number): Float32Array => Float32Array.from(values.splice(0, n));
  return { ...createGenerator(0), uniform };
}

describe("draw", () => {
  it("has the exact inclusion probabilities of the worked examples", () => {
    const printed = [0.649016, 0.390214, 0.779002, 0.181768];
    inclusion(example, 2).forEach((p, i) => expect(p).toBeCloseTo(printed[i] as number, 6));
    const printedAfter = [0.28507, 0.242878, 0.270993, 0.228024, 0.271382, 0.215145, 0.272114, 0.214393];
    const after = inclusion(afterTwoUpdates.map(logistic), 2);
    after.forEach((p, i) => expect(p).toBeCloseTo(printedAfter[i] as number, 6));
    expect(after.reduce((sum, p) => sum + p, 0)).toBeCloseTo(2, 12);
  });

  it("draws as often as these say", () => {
    const found = frequencies(draw, { weights: example, count: 2, draws: 400_000, seed: 1 });
    inclusion(example, 2).forEach((p, i) => expect(Math.abs((found[i] as number) - p)).toBeLessThan(0.002));
  });

  it.each([
    { weights: afterTwoUpdates.map(logistic), count: 2 },
    { weights: [0.9, 0.1, 0.5, 0.02, 0.7], count: 3 },
    { weights: [1, 1, 1, 1, 1, 1], count: 4 },
    { weights: [0.3, 0, 0.2, 0], count: 2 },
  ])("draws $count of $weights as often as the enumeration says", ({ weights, count }) => {
    const draws = 40_000;
    expectFrequencies(frequencies(draw, { weights, count, draws, seed: 7 }), inclusion(weights, count), draws);
  });

  it("has the distribution of the largest log w + Gumbel noise", () => {
    const draws = 40_000;
    const generator = createGenerator(3);
    const gumbel: Draw = (weights, count) => {
      const keys = [...generator.uniform(weights.length)].map(
        (u, i) => Math.log(weights[i] as number) - Math.log(-Math.log(u)),
      );
      return [...keys.keys()].sort((a, b) => (keys[b] as number) - (keys[a] as number)).slice(0, count);
    };
    expectFrequencies(
      frequencies(gumbel, { weights: example, count: 2, draws, seed: 0 }),
      inclusion(example, 2),
      draws,
    );
  });

  it("takes one number per block, in order, and sorts", () => {
    // Of weights 1, 2, 3, 4: 0.95·10 lies in the last, 0.4·6 in the second, 0.1·4 in the first.
    expect(draw([1, 2, 3, 4], 3, given(0.95, 0.4, 0.1))).toEqual([0, 1, 3]);
  });

  it("draws evenly from blocks whose weights are all zero", () => {
    const draws = 20_000;
    expectFrequencies(
      frequencies(draw, { weights: [0, 0, 0, 0], count: 1, draws, seed: 2 }),
      [0.25, 0.25, 0.25, 0.25],
      draws,
    );
    expect(draw([0, 1, 0], 3, createGenerator(1))).toEqual([0, 1, 2]);
  });
});

describe("samplers", () => {
  it('"uniform-topk" has another distribution', () => {
    const draws = 100_000;
    const expected = inclusionOfHeights(example, 2);
    // The printed ones are of a simulation: the second is 0.3601 exactly.
    [0.743, 0.361, 0.833, 0.063].forEach((p, i) => expect(Math.abs((expected[i] as number) - p)).toBeLessThan(0.001));
    const trial = { weights: example, count: 2, draws, seed: 5 };
    expectFrequencies(frequencies(samplers["uniform-topk"], trial), expected, draws);
  });

  it('"topk" takes the largest, and equal ones at random', () => {
    expect(samplers.topk([0.1, 0.9, 0.5, 0.8], 2, createGenerator(1))).toEqual([1, 3]);
    const draws = 20_000;
    const found = frequencies(samplers.topk, { weights: [0.5, 0.9, 0.5, 0.5], count: 2, draws, seed: 4 });
    expectFrequencies(found, [1 / 3, 1, 1 / 3, 1 / 3], draws);
  });

  it.each(["sequential", "uniform-topk", "topk"] as const)('"%s" gives distinct blocks, ascending', (sampler) => {
    const generator = createGenerator(11);
    for (let k = 0; k < 200; k++) {
      const set = samplers[sampler]([0.2, 0.9, 0.4, 0.7, 0.1, 0.5, 0.3], 3, generator);
      expect(set).toHaveLength(3);
      expect([...new Set(set)].sort((a, b) => a - b)).toEqual(set);
    }
  });
});

describe("drawCandidates", () => {
  it("gives different sets", () => {
    const generator = createGenerator(2);
    for (let k = 0; k < 200; k++) {
      const sets = drawCandidates([0.5, 0.5, 0.9, 0.1], { count: 2, candidates: 5 }, generator);
      expect(new Set(sets.map(String)).size).toBe(5);
    }
  });

  it("has as many as there are sets, at most", () => {
    expect(subsets(4, 2)).toBe(6);
    expect(subsets(32, 8)).toBe(10_518_300);
    expect(drawCandidates([1, 1], { count: 1, candidates: 3 }, createGenerator(1))).toHaveLength(2);
    expect(drawCandidates([1, 1, 1, 1], { count: 2, candidates: 9 }, createGenerator(1))).toHaveLength(6);
    expect(drawCandidates([1], { count: 1, candidates: 3 }, createGenerator(1))).toEqual([[0]]);
  });

  it("ends when the weights allow one set only", () => {
    const sets = drawCandidates([1, 1e-300, 1, 1e-300], { count: 2, candidates: 3 }, createGenerator(1));
    expect(sets).toContainEqual([0, 2]);
    expect(new Set(sets.map(String)).size).toBe(3);
  });

  it("favours what has the larger weight", () => {
    const draws = 20_000;
    const weights = [0.8, 0.2, 0.5];
    const first: Draw = (given, count, generator) =>
      drawCandidates(given, { count, candidates: 2 }, generator)[0] as number[];
    expectFrequencies(frequencies(first, { weights, count: 1, draws, seed: 8 }), inclusion(weights, 1), draws);
  });
});
