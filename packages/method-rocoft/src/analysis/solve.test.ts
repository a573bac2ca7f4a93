import { createGenerator, matmul, matrix, transpose } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { installMatchers } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { LOGISTIC_C, fitLogisticByFolds, stratifiedFolds } from "./crossValidation.ts";
import { decisions, fitLogistic, operatorNorm, solveLeastSquares } from "./solve.ts";

installMatchers();

const of = (rows: number[][]): HostMatrix =>
  matrix(Float64Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0]);
const digits = { absolute: 6e-7, relative: 0 };

/** The worked example's kernel of the difference of two logits: two examples to learn from, one to predict. */
const train = of([
  [56, 52],
  [52, 81],
]);
const test = of([[12, 28]]);
const targets = Float64Array.of(1, -1);

describe("least squares", () => {
  it("is the worked example's", () => {
    const alpha = solveLeastSquares(train, targets);
    expect(alpha).toBeAllClose([0.072598, -0.058952], digits);
    expect(matmul(test, matrix(alpha, [2, 1])).data[0]).toBeCloseTo(-0.779476, 6);
  });

  it("adds a share of the operator norm", () => {
    expect(operatorNorm(train)).toBeCloseTo(121.981305, 6);
    expect(solveLeastSquares(train, targets, { ridge: 0.1 })).toBeAllClose([0.039759, -0.032914], digits);
  });

  it("takes the least norm where the kernel is singular", () => {
    const factors = matrix(Float64Array.from(createGenerator(3).normal(12)), [6, 2]);
    const kernel = matmul(factors, transpose(factors));
    const t = Float64Array.from(createGenerator(4).normal(6));
    const alpha = solveLeastSquares(kernel, t);
    // The normal equations hold, and α has no part outside the kernel's range, whose basis the factors' columns are.
    const residual = matmul(kernel, matrix(alpha, [6, 1])).data.map((value, i) => value - (t[i] as number));
    expect(matmul(transpose(factors), matrix(Float64Array.from(residual), [6, 1])).data).toBeAllClose([0, 0], {
      absolute: 1e-10,
      relative: 0,
    });
    const [a, b] = solveInRange(factors, alpha);
    const inside = matmul(factors, matrix(Float64Array.of(a, b), [2, 1])).data;
    expect(alpha).toBeAllClose([...inside], { absolute: 1e-12, relative: 1e-10 });
    expect(() => solveLeastSquares(kernel, Float64Array.of(1))).toThrow(/one target a row, got a 6 × 6 kernel and 1/u);
  });
});

/** Coefficients of the projection of x on two columns. */
function solveInRange(columns: HostMatrix, x: Float64Array): [number, number] {
  const [p, q, , r] = matmul(transpose(columns), columns).data as unknown as [number, number, number, number];
  const [u, v] = matmul(transpose(columns), matrix(x, [x.length, 1])).data as unknown as [number, number];
  const determinant = p * r - q * q;
  return [(r * u - q * v) / determinant, (p * v - q * u) / determinant];
}

describe("logistic regression on the rows of the kernel", () => {
  it.each([
    [0.01, [0.010114, -0.073327], 4.330069, 2.398289],
    [1, [0.042355, -0.307076], 18.13336, 10.043499],
  ])("c = %f is the worked example's", (c, weights, bias, margin) => {
    const model = fitLogistic(train, targets, c);
    expect(model.weights).toBeAllClose(weights, digits);
    expect(model.bias).toBeCloseTo(bias, 6);
    expect(decisions(test, model)[0]).toBeCloseTo(margin, 6);
  });

  it.each(LOGISTIC_C)("c = %f: the gradient vanishes, also for rows of large numbers that no plane parts", (c) => {
    const [n, d] = [40, 7];
    const x = matrix(
      Float64Array.from(createGenerator(1).normal(n * d), (v) => 300 * v),
      [n, d],
    );
    const y = Float64Array.from(createGenerator(2).uniform(n), (v) => (v < 0.4 ? 1 : -1));
    const { weights, bias } = fitLogistic(x, y, c);
    const pulls = decisions(x, { weights, bias }).map((m, i) => (c * y[i]!) / (1 + Math.exp(y[i]! * m)));
    const pull = matmul(matrix(pulls as Float64Array, [1, n]), x).data;
    const scale = pulls.reduce((sum, v) => sum + Math.abs(v), 0);
    expect(Math.abs(pulls.reduce((sum, v) => sum + v, 0))).toBeLessThan(1e-6 * scale);
    expect(weights).toBeAllClose([...pull], { absolute: 300 * 1e-6 * scale, relative: 1e-6 });
  });

  it("says which labels are missing", () => {
    expect(() => fitLogistic(train, [1, 1], 1)).toThrow(/both labels, \+1 and −1, got 1\./u);
    expect(() => fitLogistic(train, [1], 1)).toThrow(/got 1 labels for 2 rows/u);
  });
});

describe("cross-validation", () => {
  it("deals every label evenly over the folds, in order", () => {
    // As scikit-learn's StratifiedKFold(5): the first kind to appear is dealt first, the next goes on where it stopped.
    expect([...stratifiedFolds([1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, -1])]).toEqual([
      0, 0, 0, 1, 1, 1, 2, 2, 3, 2, 4, 3, 4,
    ]);
    expect(() => stratifiedFolds([1, 1, 1, -1, 1, 1])).toThrow(/Label -1 has 1 examples, too few for 5 folds/u);
  });

  it("takes the first c among equals and fits all examples with it", () => {
    const values = createGenerator(5).normal(40);
    const y = Array.from({ length: 40 }, (_, i) => (i % 4 === 0 ? 1 : -1));
    const easy = matrix(
      Float64Array.from(y, (label, i) => 3 * label + 0.1 * values[i]!),
      [40, 1],
    );
    const chosen = fitLogisticByFolds(easy, y);
    // With 1e-4 and its neighbour everything is taken for the frequent label; from some c on all are right.
    const right = (c: number): boolean =>
      decisions(easy, fitLogistic(easy, y, c)).every((margin, i) => margin > 0 === (y[i] ?? 0) > 0);
    expect(right(chosen.c)).toBe(true);
    expect(right(LOGISTIC_C[LOGISTIC_C.indexOf(chosen.c) - 1] ?? 0)).toBe(false);
    expect(chosen.weights).toEqual(fitLogistic(easy, y, chosen.c).weights);
  });
});
