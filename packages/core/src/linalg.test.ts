import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { createGenerator, matmul, matrix, qr, svd, transpose, type HostMatrix } from "./index.ts";

installMatchers();

const double = { absolute: 1e-12, relative: 1e-12 };
const of = (rows: number[][]): HostMatrix =>
  matrix(Float64Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);
const random = (m: number, n: number): HostMatrix =>
  matrix(Float64Array.from(createGenerator(m * 100 + n).normal(m * n)), [m, n]);
const shaped = ({ rows, columns, data }: HostMatrix): { shape: number[]; data: ArrayLike<number> } => ({
  shape: [rows, columns],
  data,
});
const identity = (n: number): HostMatrix =>
  of(Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))));
const gram = (q: HostMatrix): HostMatrix => matmul(transpose(q), q);

describe("matmul and transpose", () => {
  it("follow the definition", () => {
    expect(
      shaped(
        matmul(
          of([
            [1, 2],
            [3, 4],
            [0, -1],
          ]),
          of([
            [1, 0, 2],
            [0.5, 1, -1],
          ]),
        ),
      ),
    ).toBeAllClose(
      [
        [2, 2, 0],
        [5, 4, 2],
        [-0.5, -1, 1],
      ],
      double,
    );
    expect(
      shaped(
        transpose(
          of([
            [1, 2, 3],
            [4, 5, 6],
          ]),
        ),
      ),
    ).toBeAllClose(
      [
        [1, 4],
        [2, 5],
        [3, 6],
      ],
      double,
    );
    expect(() => matmul(of([[1, 2]]), of([[1, 2]]))).toThrow(/Cannot multiply 1 × 2 by 1 × 2/u);
    expect(() => matrix(new Float64Array(5), [2, 3])).toThrow(/needs 6 values, got 5/u);
  });
});

describe("qr", () => {
  it("has LAPACK's signs", () => {
    const { q, r } = qr(
      of([
        [3, 1],
        [4, 2],
      ]),
    );
    expect(shaped(q)).toBeAllClose(
      [
        [-0.6, -0.8],
        [-0.8, 0.6],
      ],
      double,
    );
    expect(shaped(r)).toBeAllClose(
      [
        [-5, -2.2],
        [0, 0.4],
      ],
      double,
    );
  });

  const zeroColumn = of([
    [0, 1, 2],
    [0, 3, 4],
    [0, 5, 7],
    [0, 1, 1],
  ]);
  const rankOne = matmul(random(5, 1), random(1, 3));
  it.each<[string, HostMatrix]>([
    ["tall", random(7, 3)],
    ["wide", random(3, 7)],
    ["square", random(6, 6)],
    ["one column", random(4, 1)],
    ["long", random(3000, 2)],
    ["a zero column", zeroColumn],
    ["all zero", matrix(new Float64Array(12), [4, 3])],
    ["rank one", rankOne],
    [
      "huge",
      matrix(
        random(5, 3).data.map((x) => x * 1e200),
        [5, 3],
      ),
    ],
    [
      "tiny",
      matrix(
        random(5, 3).data.map((x) => x * 1e-200),
        [5, 3],
      ),
    ],
  ])("is orthonormal, triangular and exact: %s", (_, a) => {
    const { q, r } = qr(a);
    const k = Math.min(a.rows, a.columns);
    expect(shaped(gram(q))).toBeAllClose(shaped(identity(k)), { absolute: 1e-12, relative: 0 });
    for (let i = 0; i < k; i++) for (let j = 0; j < i; j++) expect(r.data[i * r.columns + j]).toBe(0);
    const scale = Math.max(...a.data.map(Math.abs));
    expect(shaped(matmul(q, r))).toBeAllClose(shaped(a), { absolute: 1e-13 * scale, relative: 1e-12 });
  });
});

describe("svd", () => {
  it("has the singular values of a worked example", () => {
    expect(
      svd(
        of([
          [3, 1],
          [4, 2],
        ]),
      ).s,
    ).toBeAllClose([5.4649857, 0.36596619], { absolute: 1e-8, relative: 0 });
    const values = svd(
      of([
        [3, 1, 2],
        [1, 4, 0],
        [2, 0, 5],
        [1, 1, 1],
      ]),
    ).s;
    expect(values).toBeAllClose([6.559291484, 4.220276139, 1.471381848], { absolute: 1e-9, relative: 0 });
  });

  it.each<[string, HostMatrix]>([
    ["tall", random(7, 3)],
    ["wide", random(3, 7)],
    ["square", random(6, 6)],
  ])("reconstructs and is orthonormal: %s", (_, a) => {
    const { u, s, v } = svd(a);
    const scaled = matrix(
      u.data.map((x, i) => x * (s[i % s.length] as number)),
      [u.rows, u.columns],
    );
    expect(shaped(matmul(scaled, transpose(v)))).toBeAllClose(shaped(a), { absolute: 1e-12, relative: 1e-10 });
    for (const q of [u, v])
      expect(shaped(gram(q))).toBeAllClose(shaped(identity(s.length)), { absolute: 1e-12, relative: 0 });
    expect([...s]).toEqual([...s].sort((x, y) => y - x));
  });
});
