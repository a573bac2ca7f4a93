import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import {
  createGenerator,
  matmul,
  matrix,
  qr,
  svd,
  transpose,
  truncatedSvd,
  type Generator,
  type HostMatrix,
  type Svd,
} from "../index.ts";

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
const compose = ({ u, s, v }: Svd): HostMatrix =>
  matmul(
    matrix(
      u.data.map((x, i) => x * (s[i % s.length] as number)),
      [u.rows, u.columns],
    ),
    transpose(v),
  );
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
    ["longer than a block", random(150, 130)],
  ])("is orthonormal, triangular and exact: %s", (_, a) => {
    const { q, r } = qr(a);
    const k = Math.min(a.rows, a.columns);
    expect(shaped(gram(q))).toBeAllClose(shaped(identity(k)), { absolute: 1e-12, relative: 0 });
    for (let i = 0; i < k; i++) for (let j = 0; j < i; j++) expect(r.data[i * r.columns + j]).toBe(0);
    const scale = Math.max(...a.data.map(Math.abs));
    expect(shaped(matmul(q, r))).toBeAllClose(shaped(a), { absolute: 1e-13 * scale, relative: 1e-12 });
  });
});

it("qr computes a part of the factors alone", () => {
  const a = random(9, 7);
  const full = qr(a);
  const { q, r } = qr(a, { rank: 3 });
  expect([q.rows, q.columns, r.rows, r.columns]).toEqual([9, 3, 3, 7]);
  expect(r.data).toEqual(full.r.data.slice(0, 21));
  expect(shaped(q)).toBeAllClose(
    {
      shape: [9, 3],
      data: Array.from({ length: 27 }, (_, i) => full.q.data[Math.floor(i / 3) * 7 + (i % 3)] as number),
    },
    double,
  );
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

  const diagonal = (values: readonly number[]): HostMatrix =>
    of(values.map((value, i) => values.map((_, j) => (i === j ? value : 0))));
  const bidiagonal = (values: readonly number[]): HostMatrix =>
    of(values.map((value, i) => values.map((_, j) => (i === j ? value : j === i + 1 ? 1 : 0))));
  it.each<[string, HostMatrix]>([
    ["tall", random(7, 3)],
    ["wide", random(3, 7)],
    ["square", random(6, 6)],
    ["one by one", of([[-2]])],
    ["a row", random(1, 5)],
    ["large", random(90, 70)],
    ["all zero", matrix(new Float64Array(12), [4, 3])],
    ["rank two", matmul(random(9, 2), random(2, 6))],
    ["equal values", diagonal([2, 2, -2, 2])],
    ["zeros on the diagonal", bidiagonal([3, 0, 2, 0, 1])],
    ["a zero first", bidiagonal([0, 1, 2])],
    ["a zero last", bidiagonal([2, 1, 0])],
    [
      "graded",
      matmul(diagonal([1, 1e-4, 1e-8, 1e-12, 1e-16]), matmul(random(5, 5), diagonal([1e-9, 1e-6, 1e-3, 1, 1e3]))),
    ],
    ["huge", matmul(diagonal([1e150, 1e150, 1e150]), random(3, 3))],
    ["tiny", matmul(diagonal([1e-150, 1e-150, 1e-150]), random(3, 3))],
  ])("reconstructs and is orthonormal: %s", (_, a) => {
    const { u, s, v } = svd(a);
    const scale = Math.max(...a.data.map(Math.abs));
    expect(shaped(compose({ u, s, v }))).toBeAllClose(shaped(a), { absolute: 1e-13 * scale, relative: 1e-10 });
    for (const q of [u, v])
      expect(shaped(gram(q))).toBeAllClose(shaped(identity(s.length)), { absolute: 1e-12, relative: 0 });
    expect([...s]).toEqual([...s].sort((x, y) => y - x));
    expect(s.every((value) => value >= 0)).toBe(true);
  });

  it("refuses what has no singular values", () => {
    expect(() =>
      svd(
        of([
          [1, 2],
          [NaN, 3],
        ]),
      ),
    ).toThrow(expect.objectContaining({ code: "NOT_FINITE" }));
  });
});

describe("truncatedSvd", () => {
  const worked = of([
    [3, 1, 2],
    [1, 4, 0],
    [2, 0, 5],
    [1, 1, 1],
  ]);
  const sketch = (values: readonly number[]): Generator => ({
    ...createGenerator(0),
    normal: (n) => Float32Array.from(values.slice(0, n)),
  });

  it.each([
    [0, 4.324237404],
    [1, 4.77765593],
    [2, 5.721168854],
    [4, 6.521017886],
    [8, 6.559257904],
    [16, 6.559291483758],
  ])("after %i iterations, from a given sketch", (iterations, expected) => {
    const { s, v } = truncatedSvd(worked, { rank: 1, iterations, generator: sketch([1, 2, -1]) });
    expect(s).toBeAllClose([expected], { absolute: 1e-9, relative: 0 });
    if (iterations < 16) return;
    expect(v.data.map(Math.abs)).toBeAllClose([0.5546449, 0.2716057, 0.7865109], { absolute: 1e-7, relative: 0 });
  });

  it.each<[string, HostMatrix]>([
    ["tall", random(40, 25)],
    ["wide", random(25, 40)],
  ])("comes to the leading part of the exact decomposition: %s", (_, a) => {
    const options = { rank: 3, iterations: 60, oversampling: 4, generator: createGenerator(1) };
    const { u, s, v } = truncatedSvd(a, options);
    const exact = svd(a);
    expect([u.rows, u.columns, s.length, v.rows, v.columns]).toEqual([a.rows, 3, 3, a.columns, 3]);
    expect(s).toBeAllClose([...exact.s.slice(0, 3)], { absolute: 0, relative: 1e-9 });
    const largest = matmul(transpose(u), matmul(a, v));
    const expected = of([0, 1, 2].map((i) => [0, 1, 2].map((j) => (i === j ? (s[i] as number) : 0))));
    expect(shaped(largest)).toBeAllClose(shaped(expected), { absolute: 1e-9, relative: 1e-9 });
  });

  it("is exact when the sketch spans everything, and caps the rank there", () => {
    const a = random(5, 3);
    const { u, s, v } = truncatedSvd(a, { rank: 9, iterations: 0, generator: createGenerator(1) });
    expect(shaped(compose({ u, s, v }))).toBeAllClose(shaped(a), { absolute: 1e-12, relative: 1e-10 });
  });

  it("draws the sketch row by row, as torch.randn([n, rank])", () => {
    const drawn: number[] = [];
    const generator = createGenerator(1);
    const counting: Generator = { ...generator, normal: (n) => (drawn.push(n), generator.normal(n)) };
    truncatedSvd(random(12, 7), { rank: 2, iterations: 1, oversampling: 1, generator: counting });
    expect(drawn).toEqual([21]);
  });
});
