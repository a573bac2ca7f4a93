import { createGenerator } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { largest } from "./index.ts";
import { Pool } from "./pool.ts";

function chosen(tensors: readonly Float32Array[], k: number): number[][] {
  const pool = new Pool(k);
  for (const numbers of tensors) pool.add(numbers);
  return pool.chosen().map((places) => [...places]);
}

describe("the largest of several tensors", () => {
  it("are few of one and many of another, of equal ones those of the earlier tensor", () => {
    const tensors = [Float32Array.of(1, -5, 2), Float32Array.of(0.5, 0.1), Float32Array.of(-4, 2, 2, 3)];
    expect(chosen(tensors, 3)).toEqual([[1], [], [0, 3]]);
    expect(chosen(tensors, 4)).toEqual([[1, 2], [], [0, 3]]);
    expect(chosen(tensors, 5)).toEqual([[1, 2], [], [0, 1, 3]]);
    expect(chosen(tensors, 9).flat()).toHaveLength(9);
  });

  it("are those of the tensors laid end to end, and of one the tensor's own", () => {
    const generator = createGenerator(2);
    for (let k = 1; k <= 60; k++) {
      // Small whole numbers: many are equal.
      const tensors = [5, 1, 30, 17, 0, 40].map((size) => generator.normal(size).map((value) => Math.round(3 * value)));
      const all = Float32Array.from(tensors.flatMap((numbers) => [...numbers]));
      const starts = tensors.map((_, i) => tensors.slice(0, i).reduce((sum, { length }) => sum + length, 0));
      const found = chosen(tensors, k).flatMap((places, i) => places.map((place) => place + starts[i]!));
      expect(found).toEqual([...largest(all, k)]);
      expect(chosen([all], k)).toEqual([[...largest(all, k)]]);
    }
  });
});
