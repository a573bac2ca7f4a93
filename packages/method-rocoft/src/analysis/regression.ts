import { createGenerator, matmul, matrix, PeftError, transpose } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { fitLogisticByFolds } from "./crossValidation.ts";
import { decisions, fitLogistic, solveLeastSquares } from "./solve.ts";
import type { LeastSquaresOptions } from "./solve.ts";

/** Outputs of the model before training, sample-major, which the regression starts from: the targets are what is missing to them. */
export interface InitialOutputs {
  readonly train: ArrayLike<number>;
  readonly test: ArrayLike<number>;
  /** s: the outputs count 1/s. Default: 1. */
  readonly scale?: number;
}

export interface LeastSquaresSolver extends LeastSquaresOptions {
  readonly kind: "leastSquares";
  /** Default: none; the regression starts from zero. */
  readonly adjustForInit?: InitialOutputs | undefined;
}

export interface LogisticSolver {
  readonly kind: "logistic";
  /** Weight of the data against the penalty. Default: chosen by cross-validation. */
  readonly c?: number | undefined;
}

/** How the outputs are fitted. */
export type Solver = LeastSquaresSolver | LogisticSolver;

export interface RegressionInput {
  /** Kernel of the n training examples with themselves, sample-major, [n·C, n·C]. */
  readonly train: HostMatrix;
  /** Kernel of the training examples with the m test examples, [n·C, m·C]. */
  readonly cross: HostMatrix;
  /** Classes of the training examples, [n]. */
  readonly labels: ArrayLike<number>;
  /** C: outputs of an example. 1: the difference of two logits, f₁ − f₀. */
  readonly outputs: number;
}

export interface RegressionResult {
  /** [m, C]. */
  readonly scores: HostMatrix;
  /** Class of each test example: the largest score, or the sign of the only one. */
  readonly predictions: Int32Array;
}

/**
 * Kernel regression (Malladi et al. 2023): what training on the examples comes to while the model stays linear in its parameters.
 * Targets are 1 for the right class and 0 for the others, or ±1 with one output.
 *
 * `leastSquares`: (K + λ‖K‖₂·I)·α = t, scores Kᵀ_cross·α; with `adjustForInit`, t − f₀/s is fitted and f₀/s is added to the scores.
 * `logistic`: logistic regression of each entry of t with the rows of the kernel as features; scores are log p₁ − log p₀.
 * @throws PeftError `SHAPE_MISMATCH`, `LABELS_TOO_FEW`.
 */
export function kernelRegression(input: RegressionInput, solver: Solver = { kind: "leastSquares" }): RegressionResult {
  const { train, cross, labels, outputs } = input;
  if (train.rows !== labels.length * outputs || cross.rows !== train.rows || cross.columns % outputs !== 0) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `${labels.length} labels and ${outputs} outputs an example need kernels of ${labels.length * outputs} rows, got ${train.rows} × ${train.columns} for training and ${cross.rows} × ${cross.columns} for testing. Compute both kernels with the training examples first.`,
    );
  }
  const flat = solver.kind === "logistic" ? logisticScores(input, solver) : leastSquaresScores(input, solver);
  const scores = matrix(flat, [cross.columns / outputs, outputs]);
  return { scores, predictions: classesOf(scores) };
}

function leastSquaresScores(
  { train, cross, labels, outputs }: RegressionInput,
  { adjustForInit, ...options }: LeastSquaresSolver,
): Float64Array {
  const { scale = 1 } = adjustForInit ?? {};
  const zero = outputs === 1 ? -1 : 0;
  const start = (values: ArrayLike<number> | undefined, at: number): number => (values?.[at] ?? 0) / scale;
  const targets = signs(labels, outputs).map((sign, at) => (sign > 0 ? 1 : zero) - start(adjustForInit?.train, at));
  const alpha = solveLeastSquares(train, targets, options);
  const change = matmul(matrix(alpha, [1, alpha.length]), cross).data as Float64Array;
  return change.map((value, at) => value + start(adjustForInit?.test, at));
}

function logisticScores({ train, cross, labels, outputs }: RegressionInput, { c }: LogisticSolver): Float64Array {
  const targets = signs(labels, outputs);
  const model = c === undefined ? fitLogisticByFolds(train, targets) : fitLogistic(train, targets, c);
  return decisions(transpose(cross), model);
}

/** +1 for the right class of each example and −1 for the others, [n·C]; with one output +1 for class 1. */
function signs(labels: ArrayLike<number>, outputs: number): Float64Array {
  return Float64Array.from({ length: labels.length * outputs }, (_, at) => {
    const label = labels[Math.floor(at / outputs)] as number;
    return label === (outputs === 1 ? 1 : at % outputs) ? 1 : -1;
  });
}

function classesOf({ rows, columns, data }: HostMatrix): Int32Array {
  return Int32Array.from({ length: rows }, (_, row) => {
    const scores = Array.from(data.subarray(row * columns, (row + 1) * columns));
    return columns === 1 ? Number((scores[0] as number) > 0) : scores.indexOf(Math.max(...scores));
  });
}

/** Share of predictions that are right. */
export function accuracyOf(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  const right = Array.from(predictions).filter((prediction, i) => prediction === labels[i]);
  return right.length / predictions.length;
}

/**
 * Numbers of k examples of each class: the first k of a random order of all of them, classes one after the other.
 * @throws PeftError `LABELS_TOO_FEW`.
 */
export function fewShot(
  labels: ArrayLike<number>,
  { classes, perClass, seed }: { readonly classes: number; readonly perClass: number; readonly seed: number },
): number[] {
  const order = [...createGenerator(seed).permutation(labels.length)];
  return Array.from({ length: classes }, (_, label) => {
    const own = order.filter((row) => labels[row] === label).slice(0, perClass);
    if (own.length === perClass) return own;
    throw new PeftError(
      "LABELS_TOO_FEW",
      `Class ${label} has ${own.length} examples, but ${perClass} of each are wanted. Give more rows, or ask for fewer a class.`,
    );
  }).flat();
}

/** Mean and sample standard deviation; the deviation is null for fewer than two values. */
export function meanAndDeviation(values: readonly number[]): {
  readonly mean: number;
  readonly deviation: number | null;
} {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length < 2) return { mean, deviation: null };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}
