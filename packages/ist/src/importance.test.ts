import { createGenerator } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { logistic, rewards, updatedImportance } from "./importance.ts";

const published = { learningRate: 10, derivativeFactor: true };
const first = {
  sets: [
    [0, 1, 4, 6],
    [1, 3, 5, 7],
    [0, 2, 5, 6],
  ],
  losses: [1.2, 0.9, 1.05],
};
const second = {
  sets: [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [0, 2, 4, 6],
  ],
  losses: [0.8, 0.7, 1.1],
};
const zeros = Array.from({ length: 8 }, () => 0);

/** Half a unit of the eighth digit, in which the numbers are printed. */
function expectPrinted(values: readonly number[] | null, printed: readonly number[]): void {
  expect(values).toHaveLength(printed.length);
  printed.forEach((value, i) => expect(values?.[i]).toBeCloseTo(value, 8));
}

/** A random comparison of `candidates` sets of half of the blocks. */
function randomCase(seed: number, { blocks = 10, candidates = 4 } = {}) {
  const generator = createGenerator(seed);
  return {
    importance: [...generator.normal(blocks)],
    sets: Array.from({ length: candidates }, () => [...generator.permutation(blocks)].slice(0, blocks / 2)),
    losses: [...generator.uniform(candidates, 0.2, 2)],
  };
}

describe("updatedImportance", () => {
  it("gives the worked example, first update", () => {
    const raw = first.losses.map((loss) => Math.exp(-loss));
    expectPrinted(raw, [0.30119421, 0.40656966, 0.34993775]);
    expectPrinted(rewards(first.losses), [-0.051373, 0.05400245, -0.00262946]);
    expectPrinted(
      updatedImportance(zeros, first, published),
      [0.13500613, -0.00657364, 0.00657364, -0.13500613, 0.12843249, -0.12843249, 0.13500613, -0.13500613],
    );
  });

  it("gives the worked example, second update", () => {
    const before = updatedImportance(zeros, first, published) as number[];
    const after = updatedImportance(before, second, published) as number[];
    expectPrinted(rewards(second.losses), [0.02306718, 0.07032352, -0.0933907]);
    expectPrinted(
      after,
      [0.31001626, -0.06424097, 0.18238055, -0.19241211, 0.18586328, -0.30351829, 0.19241211, -0.31001626],
    );
    expectPrinted(
      after.map(logistic),
      [0.57688923, 0.48394528, 0.54546917, 0.45204483, 0.54633252, 0.42469763, 0.54795517, 0.42311077],
    );
  });

  it.each([1, 2, 3, 4, 5])("equals adding to the kept blocks, case %i", (seed) => {
    const { importance, ...comparison } = randomCase(seed);
    const gains = rewards(comparison.losses);
    expect(gains.reduce((sum, gain) => sum + gain, 0)).toBeCloseTo(0, 14);
    const kept = importance.map((score, i) => {
      const gain = gains.reduce((sum, r, k) => (comparison.sets[k]?.includes(i) ? sum : sum + r), 0);
      return score + 10 * gain * logistic(score) * logistic(-score);
    });
    const updated = updatedImportance(importance, comparison, published) as number[];
    updated.forEach((score, i) => expect(score).toBeCloseTo(kept[i] as number, 12));
  });

  it.each([6, 7, 8])("moving the kept blocks the other way doubles the step, case %i", (seed) => {
    const { importance, ...comparison } = randomCase(seed);
    const gains = rewards(comparison.losses);
    const symmetric = importance.map((score, i) => {
      const gain = gains.reduce((sum, r, k) => (comparison.sets[k]?.includes(i) ? sum - r : sum + r), 0);
      return score + 10 * gain * logistic(score) * logistic(-score);
    });
    const doubled = updatedImportance(importance, comparison, { ...published, learningRate: 20 }) as number[];
    doubled.forEach((score, i) => expect(score).toBeCloseTo(symmetric[i] as number, 12));
  });

  it("changes nothing when all candidates are equally good", () => {
    const { importance, sets } = randomCase(9, { candidates: 3 });
    expect(updatedImportance(importance, { sets, losses: [0.7, 0.7, 0.7] }, published)).toEqual(importance);
  });

  it("leaves a block that every candidate suppresses", () => {
    const { importance, sets, losses } = randomCase(10);
    const everywhere = sets.map((set) => [...new Set([...set, 3])]);
    const updated = updatedImportance(importance, { sets: everywhere, losses }, published) as number[];
    expect(updated[3]).toBeCloseTo(importance[3] as number, 14);
    expect(updated).not.toEqual(importance);
  });

  it("moves decided blocks as far as others without the derivative's factor", () => {
    const comparison = { sets: [[0, 1], [2]], losses: [1, 0.5] };
    const factorless = { learningRate: 10, derivativeFactor: false };
    const [undecided = 0, decided = 0] = updatedImportance([0, 5, 0], comparison, factorless) ?? [];
    expect(undecided).toBeCloseTo(-10 * (rewards([1, 0.5])[0] as number), 12);
    expect(decided - 5).toBeCloseTo(undecided, 12);
    const [slow = 0, slower = 0] = updatedImportance([0, 5, 0], comparison, published) ?? [];
    expect(slow).toBeCloseTo(undecided / 4, 12);
    expect(slower - 5).toBeCloseTo(undecided * logistic(5) * logistic(-5), 12);
  });

  it.each([Number.NaN, Infinity, -Infinity, -1000])("learns nothing from a loss of %d", (loss) => {
    expect(updatedImportance(zeros, { ...first, losses: [1, loss, 1] }, published)).toBeNull();
  });

  it("refuses a number of losses other than that of candidates", () => {
    expect(() => updatedImportance(zeros, { ...first, losses: [1, 2] }, published)).toThrow(
      "2 losses for 3 candidates",
    );
  });
});
