import { createGenerator } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { dare, electedMean, prune, weightedSum } from "./taskVectors.ts";

const t1 = Float64Array.of(3, -1, 0.5, 2);
const t2 = Float64Array.of(-2, -4, 1, 0.1);
const weights = [0.7, 0.3];

function close(actual: ArrayLike<number>, expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  expected.forEach((value, i) => expect(actual[i]).toBeCloseTo(value, 12));
}

describe("the worked task vectors", () => {
  it("adds them up by weight", () => {
    close(weightedSum([t1, t2], weights), [1.5, -1.9, 0.65, 1.43]);
  });

  it("adds up their largest entries", () => {
    close(
      weightedSum(
        [t1, t2].map((t) => prune(t, 0.5)),
        weights,
      ),
      [1.5, -1.2, 0, 1.4],
    );
  });

  it.each(["total", "frequency"] as const)("elects signs by %s", (method) => {
    const kept = [t1, t2].map((t) => prune(t, 0.5));
    close(electedMean(kept, { weights, method }), [2.1, -1.2, 0, 1.4]);
  });
});

describe("prune", () => {
  it("keeps ⌊density·n⌋ entries, the first of equal ones", () => {
    expect([...prune(Float64Array.of(1, -1, 2, 1, 0), 0.5)]).toEqual([1, 0, 2, 0, 0]);
    expect([...prune(t1, 1)]).toEqual([...t1]);
    expect([...prune(t1, 0.2)]).toEqual([0, 0, 0, 0]);
  });
});

describe("electedMean", () => {
  it("tells the vote of the sum from that of the majority, and divides by those that agree", () => {
    const tensors = [Float64Array.of(5), Float64Array.of(-1), Float64Array.of(-2)];
    close(electedMean(tensors, { weights: [1, 1, 1], method: "total" }), [5]);
    close(electedMean(tensors, { weights: [1, 1, 1], method: "frequency" }), [-1.5]);
  });

  it("takes + where the votes cancel, and a zero never agrees", () => {
    close(electedMean([Float64Array.of(2, 0), Float64Array.of(-2, 0)], { weights: [1, 1], method: "total" }), [2, 0]);
  });
});

describe("dare", () => {
  it("keeps a share of the entries and the expectation, the same for the same seed", () => {
    const ones = new Float64Array(20_000).fill(1);
    const kept = dare(ones, { density: 0.3, generator: createGenerator(7) });
    const mean = kept.reduce((sum, value) => sum + value, 0) / kept.length;
    // The standard deviation of the mean is √(0.7 / 0.3 / 20000) ≈ 0.011.
    expect(Math.abs(mean - 1)).toBeLessThan(0.04);
    expect(new Set(kept)).toEqual(new Set([0, 1 / 0.3]));
    expect(dare(ones, { density: 0.3, generator: createGenerator(7) })).toEqual(kept);
    expect(dare(ones, { density: 0.3, generator: createGenerator(8) })).not.toEqual(kept);
  });
});
