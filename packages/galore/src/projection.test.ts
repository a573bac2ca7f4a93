import { installMatchers, useCpuBackend } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { backproject, perAxis, project, projectionOf } from "./projection.ts";

installMatchers();
beforeAll(() => {
  useCpuBackend();
});

const TYPES = ["std", "reverse_std", "right", "left", "full"] as const;

describe("projectionOf", () => {
  const sides = (out: number, inner: number) =>
    TYPES.map((projType) => {
      const { axes } = projectionOf([out, inner], { projType, rank: 2, layout: "out_in" });
      return `${axes.rows ? "left" : ""}${axes.columns ? "right" : ""}`;
    });

  it("compresses the side that the type names", () => {
    expect(sides(6, 4)).toEqual(["right", "left", "right", "left", "leftright"]);
    expect(sides(4, 6)).toEqual(["left", "right", "right", "left", "leftright"]);
    expect(sides(5, 5)).toEqual(["right", "left", "right", "left", "leftright"]);
  });

  it.each([
    [4, 6],
    [6, 4],
    [5, 5],
  ])("has states of the projected shape and leads back to %i × %i, for either layout", (out, inner) => {
    for (const projType of TYPES)
      for (const rank of [1, Math.min(out, inner), 9]) {
        const plain = projectionOf([out, inner], { projType, rank, layout: "out_in" });
        const r = Math.min(rank, out, inner);
        expect(plain.rank).toBe(r);
        expect(plain.reduced).toEqual([plain.axes.rows ? r : out, plain.axes.columns ? r : inner]);
        const turned = projectionOf([inner, out], { projType, rank, layout: "in_out" });
        expect(turned.reduced).toEqual([...plain.reduced].reverse());
        for (const { bases, reduced, shape } of [
          { ...plain, shape: [out, inner] },
          { ...turned, shape: [inner, out] },
        ]) {
          const tensors = perAxis(bases, (size) => tf.ones<tf.Rank.R2>([...size]));
          const projected = project(tf.ones(shape as [number, number]), tensors);
          expect(projected.shape).toEqual(reduced);
          expect(backproject(projected, tensors).shape).toEqual(shape);
        }
      }
  });
});

it("keeps as many numbers as published", () => {
  const numbers = (shapes: readonly (readonly [number, number])[], rank: number) =>
    shapes
      .map((shape) => projectionOf(shape, { projType: "std", rank, layout: "out_in" }))
      .map(({ bases, reduced }) => [bases.rows ?? [0, 0], bases.columns ?? [0, 0], reduced, reduced])
      .flat()
      .reduce((sum, [m, n]) => sum + m * n, 0);
  const layers = (count: number, hidden: number, others: readonly (readonly [number, number])[] = []) =>
    Array.from({ length: count }, () => [[hidden, hidden] as const, [hidden, hidden] as const, ...others]).flat();
  const inner = [
    [768, 768],
    [768, 768],
    [3072, 768],
    [768, 3072],
  ] as const;
  expect(numbers(layers(12, 768, inner), 4)).toBe(1_105_920);
  expect(numbers(layers(12, 768, inner), 8)).toBe(2_211_840);
  expect(numbers(layers(12, 768), 8)).toBe(442_368);
  expect(numbers(layers(24, 1024), 8)).toBe(1_179_648);
  const llama = [
    [4096, 4096],
    [4096, 4096],
    [11_008, 4096],
    [11_008, 4096],
    [4096, 11_008],
  ] as const;
  expect(numbers(layers(32, 4096, llama), 1024)).toBe(4_177_526_784);
});
