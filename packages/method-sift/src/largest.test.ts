import { createGenerator } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { largest } from "./index.ts";

/** By a full sort. */
function expected(numbers: Float32Array, k: number): number[] {
  const order = [...numbers.keys()].sort((a, b) => Math.abs(numbers[b]!) - Math.abs(numbers[a]!) || a - b);
  return order.slice(0, k).sort((a, b) => a - b);
}

describe("the largest", () => {
  it("are those of a sort, ascending, and of equal ones the first", () => {
    const generator = createGenerator(1);
    for (let size = 1; size <= 200; size++) {
      // Half of them of few values, so that many are equal; some beyond the ordinary.
      const numbers = generator
        .normal(size)
        .map((value, i) => (i % 2 === 0 ? value * 10 ** (i % 7) : Math.round(value)));
      if (size % 5 === 0) numbers[size >> 1] = -Infinity;
      const k = 1 + (generator.next32() % size);
      expect([...largest(numbers, k)]).toEqual(expected(numbers, k));
    }
  });

  it("can be all or lie in a part of a longer buffer", () => {
    expect([...largest(Float32Array.of(3, 0, -4), 3)]).toEqual([0, 1, 2]);
    expect([...largest(Float32Array.of(9, 9, 1, -5, 2).subarray(2), 2)]).toEqual([1, 2]);
  });

  it("takes the worked example's", () => {
    expect([...largest(Float32Array.of(0.1, -0.9, 0.3, 0.5, -0.2, 0.05), 3)]).toEqual([1, 2, 3]);
  });

  it("refuses what is not a number", () => {
    expect(() => largest(Float32Array.of(1, NaN, 2), 1)).toThrow(
      expect.objectContaining({ code: "CALIBRATION_NOT_FINITE" }) as Error,
    );
  });
});
