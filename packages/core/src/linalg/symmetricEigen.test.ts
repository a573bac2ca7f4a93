import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { createGenerator } from "../random.ts";
import { matmul, matrix, transpose, type HostMatrix } from "./matrix.ts";
import { svd } from "./svd.ts";
import { largestEigenPairs } from "./symmetricEigen.ts";

installMatchers();

const random = (rows: number, columns: number): HostMatrix =>
  matrix(Float64Array.from(createGenerator(rows * 100 + columns).normal(rows * columns)), [rows, columns]);
const shaped = ({ rows, columns, data }: HostMatrix) => ({ shape: [rows, columns], data });
const symmetric = (n: number, at: (i: number, j: number) => number): HostMatrix =>
  matrix(
    Float64Array.from({ length: n * n }, (_, k) => at(Math.floor(k / n), k % n)),
    [n, n],
  );
/** A + Aᵀ. */
const indefinite = (n: number): HostMatrix => {
  const a = random(n, n);
  return symmetric(n, (i, j) => (a.data[i * n + j] as number) + (a.data[j * n + i] as number));
};
const gram = (a: HostMatrix): HostMatrix => matmul(a, transpose(a));

describe("largestEigenPairs", () => {
  it("has the values and vectors of a worked example", () => {
    const g = matrix(Float64Array.from([2, 1, 1, 2]), [2, 2]);
    const { values, vectors } = largestEigenPairs(g, 2);
    expect(values).toBeAllClose([3, 1], { absolute: 1e-15, relative: 0 });
    expect(vectors.data.map(Math.abs)).toBeAllClose(
      [0, 1, 2, 3].map(() => Math.SQRT1_2),
      {
        absolute: 1e-15,
        relative: 0,
      },
    );
  });

  it.each<[string, HostMatrix]>([
    ["one by one", matrix(Float64Array.from([-2]), [1, 1])],
    ["two by two", indefinite(2)],
    ["indefinite", indefinite(30)],
    ["of rank two", gram(random(12, 2))],
    ["equal values", symmetric(5, (i, j) => (i === j ? 3 : 0))],
    ["all zero", symmetric(4, () => 0)],
    ["huge", symmetric(6, (i, j) => 1e150 / (i + j + 1))],
    ["tiny", symmetric(6, (i, j) => 1e-150 / (i + j + 1))],
  ])("reconstructs and is orthonormal: %s", (_, g) => {
    const n = g.rows;
    const { values, vectors } = largestEigenPairs(g, n);
    const scaled = matrix(
      (vectors.data as Float64Array).map((value, k) => value * (values[Math.floor(k / n)] as number)),
      [n, n],
    );
    const scale = Math.max(...g.data.map(Math.abs));
    expect(shaped(matmul(transpose(vectors), scaled))).toBeAllClose(shaped(g), {
      absolute: 1e-13 * scale,
      relative: 1e-10,
    });
    expect(shaped(gram(vectors))).toBeAllClose(shaped(symmetric(n, (i, j) => (i === j ? 1 : 0))), {
      absolute: 1e-12,
      relative: 0,
    });
    expect([...values]).toEqual([...values].sort((x, y) => y - x));
  });

  it("gives as many as are asked for: of XXᵀ, the squares of X's singular values", () => {
    const x = random(20, 35);
    const { values, vectors } = largestEigenPairs(gram(x), 4);
    expect([vectors.rows, vectors.columns]).toEqual([4, 20]);
    expect(values).toBeAllClose(
      [...svd(x).s.slice(0, 4)].map((s) => s * s),
      { absolute: 0, relative: 1e-12 },
    );
  });

  it("reads the lower half alone", () => {
    const g = indefinite(6);
    const lower = symmetric(6, (i, j) => (j > i ? NaN : (g.data[i * 6 + j] as number)));
    expect(largestEigenPairs(lower, 6).values).toEqual(largestEigenPairs(g, 6).values);
  });
});
