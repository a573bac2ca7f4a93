import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { createGenerator } from "../random.ts";
import { matmul, matrix, transpose, type HostMatrix } from "./matrix.ts";
import { whitening } from "./whitening.ts";

installMatchers();

const close = { absolute: 1e-10, relative: 0 };
const random = (rows: number, columns: number): HostMatrix =>
  matrix(Float64Array.from(createGenerator(rows * 100 + columns).normal(rows * columns)), [rows, columns]);
const gram = (a: HostMatrix): HostMatrix => matmul(a, transpose(a));
const identity = (n: number): number[] => Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
const rowsOf = ({ columns, data }: HostMatrix, ...rows: number[]): HostMatrix =>
  matrix(Float64Array.from(rows.flatMap((i) => Array.from(data.slice(i * columns, (i + 1) * columns)))), [
    rows.length,
    columns,
  ]);

describe("whitening", () => {
  it("has the factor of a worked example", () => {
    // L = [[2, 0], [1, 3]].
    const { factor, dependent } = whitening(matrix(Float64Array.of(4, 2, 2, 10), [2, 2]), 1e-10);
    expect(factor.data).toBeAllClose([1 / 2, 0, -1 / 6, 1 / 3], { absolute: 1e-15, relative: 0 });
    expect(dependent).toEqual([]);
  });

  it("makes rows orthonormal, whatever their lengths, and keeps their order", () => {
    const a = random(20, 50);
    const rows = matrix(
      (a.data as Float64Array).map((x, at) => x * 10 ** -Math.floor(at / 50)),
      [20, 50],
    );
    const { factor, dependent } = whitening(gram(rows), 1e-8);
    expect(dependent).toEqual([]);
    expect(gram(matmul(factor, rows)).data).toBeAllClose(identity(20), close);
    for (let i = 0; i < 20; i++) for (let j = i + 1; j < 20; j++) expect(factor.data[i * 20 + j]).toBe(0);
  });

  it("names rows that those above span, and rows of zeros, and frees the others of each other", () => {
    const independent = random(4, 10);
    const mix = matrix(
      Float64Array.of(1, 0, 0, 0, 0, 1, 0, 0, 2, -3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1),
      [6, 4],
    );
    const rows = matmul(mix, independent);
    const { factor, dependent } = whitening(gram(rows), 1e-10);
    expect(dependent).toEqual([2, 3]);
    expect(gram(rowsOf(matmul(factor, rows), 0, 1, 4, 5)).data).toBeAllClose(identity(4), close);
    expect(Array.from(rowsOf(factor, 3).data)).toEqual(new Array(6).fill(0));
  });

  it("shows what was hidden when it is applied again", () => {
    const rows = random(2, 10);
    const hidden = matrix(
      Float64Array.from(rows.data, (x, at) => (at < 10 ? x : (rows.data[at - 10] as number) + 1e-3 * x)),
      [2, 10],
    );
    const first = whitening(gram(hidden), 1e-4);
    expect(first.dependent).toEqual([1]);
    const once = matmul(first.factor, hidden);
    const second = whitening(gram(once), 1e-4);
    expect(second.dependent).toEqual([]);
    expect(gram(matmul(second.factor, once)).data).toBeAllClose(identity(2), close);
  });

  it("refuses products that are not finite", () => {
    expect(() => whitening(matrix(Float64Array.of(1, 0, 0, NaN), [2, 2]), 1e-6)).toThrow("Row 1");
    expect(() => whitening(matrix(Float64Array.of(Infinity), [1, 1]), 1e-6)).toThrow("finite");
  });
});
