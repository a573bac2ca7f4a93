import { createGenerator, matmul, matrix, svd, transpose } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { describe, expect, it } from "vitest";
import { convergedComponents, explainedVarianceRatios, updatePca } from "./incrementalPca.ts";

const x1 = matrix(Float64Array.of(1, 0, 2, 0, 2, 1, 3, 1, 0, 2, 2, 2), [4, 3]);
const x2 = matrix(Float64Array.of(2, 2, 1, 1, -1, 0, 0, 0, 3, 4, 1, 1), [4, 3]);

function close(actual: ArrayLike<number>, expected: readonly number[], tolerance = 1e-7): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => expect(Math.abs(actual[i]! - value), `entry ${i}`).toBeLessThan(tolerance));
}

const row = ({ columns, data }: HostMatrix, index: number) => data.subarray(index * columns, (index + 1) * columns);

describe("updatePca", () => {
  it("gives the worked example's numbers", () => {
    const first = updatePca(null, x1, 3);
    close(first.singularValues, [2.40576181, 1.71058959, 1.33648546]);
    const both = updatePca(first, x2, 3);
    close(both.singularValues, [4.0813131, 2.95991474, 2.19813288]);
    close(explainedVarianceRatios(both), [0.55064848, 0.28962298, 0.15972853]);
    close(row(both.components, 0), [0.87322657, 0.28177713, -0.39758898]);
    expect(both.count).toBe(8);
    close(both.mean, [13 / 8, 7 / 8, 10 / 8]);
    const truncated = updatePca(updatePca(null, x1, 1), x2, 1);
    close(truncated.singularValues, [4.04296973]);
    close(explainedVarianceRatios(truncated), [0.54035055]);
    close(truncated.components.data, [0.89196435, 0.19242039, -0.40911367]);
  });

  it("keeping all components, equals the decomposition of all rows at once", () => {
    const generator = createGenerator(5);
    const all = matrix(Float64Array.from(generator.normal(60 * 8)), [60, 8]);
    // Directions of different weight, so that the vectors are defined.
    all.data.forEach((value, i) => (all.data[i] = value * (1 + (i % 8))));
    const parts = [0, 1, 2].map((part) => matrix(all.data.subarray(part * 160, (part + 1) * 160), [20, 8]));
    const pca = parts.reduce<ReturnType<typeof updatePca> | null>((before, part) => updatePca(before, part, 8), null)!;
    const centred = matrix(
      all.data.map((value, i) => value - pca.mean[i % 8]!),
      [60, 8],
    );
    const { s, v } = svd(centred);
    close(pca.singularValues, [...s], 1e-10 * s[0]!);
    const cosines = matmul(pca.components, v);
    for (let i = 0; i < 8; i++) expect(Math.abs(cosines.data[i * 8 + i]!)).toBeCloseTo(1, 8);
  });

  it.each([
    ["more rows than features", 50, 12, 5],
    ["fewer rows than features", 9, 30, 6],
    ["as many components as rows, one of which is lost to the mean", 6, 30, 6],
  ])("%s: rows of V are orthonormal, their largest entry is positive", (_, rows, features, k) => {
    const generator = createGenerator(7);
    const draw = () => matrix(generator.normal(rows * features), [rows, features]);
    for (const pca of [updatePca(null, draw(), k), updatePca(updatePca(null, draw(), k), draw(), k)]) {
      const product = matmul(pca.components, transpose(pca.components));
      close(
        product.data,
        Array.from({ length: k * k }, (__, i) => (i % (k + 1) === 0 ? 1 : 0)),
        1e-10,
      );
      for (let i = 0; i < k; i++) {
        const values = [...row(pca.components, i)];
        expect(Math.max(...values)).toBe(Math.max(...values.map(Math.abs)));
      }
    }
  });

  it("sums the ratios of all components to one", () => {
    const generator = createGenerator(9);
    const draw = () => matrix(generator.normal(40 * 6, 3), [40, 6]);
    const pca = updatePca(updatePca(null, draw(), 6), draw(), 6);
    expect(explainedVarianceRatios(pca).reduce((sum, ratio) => sum + ratio)).toBeCloseTo(1, 10);
  });
});

describe("convergedComponents", () => {
  it("counts from the first on", () => {
    const before = updatePca(null, x1, 3);
    const { components, ...rest } = before;
    const turned = { ...rest, components: matrix(components.data.slice(), [3, 3]) };
    turned.components.data.set([1, 0, 0], 3);
    expect(convergedComponents(null, before, 0)).toBe(0);
    expect(convergedComponents(before, before, 0.999999)).toBe(3);
    expect(convergedComponents(before, turned, 0.999999)).toBe(1);
  });
});
