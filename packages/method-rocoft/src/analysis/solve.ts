import { matmul, matrix, PeftError, svd, transpose } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { dot } from "./dot.ts";

export interface LeastSquaresOptions {
  /** λ: the share of the kernel's largest singular value that is added to its diagonal. Default: 0. */
  readonly ridge?: number;
  /** Singular values below this share of the largest count as zero. Default: 1e-12, where sensitivities in float32 turn into noise. */
  readonly cutoff?: number;
}

/**
 * α of (K + λ‖K‖₂·I)·α = t, in float64; the solution of least norm where the matrix is singular. kernel [n, n], targets [n].
 * @throws PeftError `SHAPE_MISMATCH`, `NOT_FINITE`.
 */
export function solveLeastSquares(
  kernel: HostMatrix,
  targets: Float64Array,
  { ridge = 0, cutoff = 1e-12 }: LeastSquaresOptions = {},
): Float64Array {
  const n = kernel.rows;
  if (kernel.columns !== n || targets.length !== n) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `Kernel regression needs a square kernel and one target a row, got a ${n} × ${kernel.columns} kernel and ${targets.length} targets. Give the kernel of the training examples with themselves.`,
    );
  }
  const { u, s, v } = svd(ridge === 0 ? kernel : withRidge(kernel, ridge));
  const floor = cutoff * (s[0] ?? 0);
  const projected = matmul(transpose(u), matrix(targets, [n, 1])).data;
  const scaled = Float64Array.from(s, (value, i) => (value > floor ? (projected[i] as number) / value : 0));
  return matmul(v, matrix(scaled, [n, 1])).data as Float64Array;
}

function withRidge({ rows, columns, data }: HostMatrix, ridge: number): HostMatrix {
  const added = ridge * operatorNorm(matrix(data, [rows, columns]));
  const result = Float64Array.from(data);
  for (let at = 0; at < result.length; at += columns + 1) result[at] = (result[at] as number) + added;
  return matrix(result, [rows, columns]);
}

/** ‖K‖₂, the largest singular value; 0 for an empty matrix. */
export function operatorNorm(kernel: HostMatrix): number {
  return svd(kernel).s[0] ?? 0;
}

/** A linear decision kᵀw + b. */
export interface LinearModel {
  readonly weights: Float64Array;
  readonly bias: number;
}

const NEWTON_STEPS = 200;
/** The gradient's largest entry, as a share of what it was at the start, where Newton's method stops. */
const TOLERANCE = 1e-12;

/**
 * Minimises ½‖w‖² + c·Σᵢ log(1 + exp(−yᵢ(xᵢᵀw + b))) over w and b by damped Newton steps in float64; b is not penalised.
 * features [n, d] (kernel regression hands over the rows of the kernel), labels yᵢ ∈ {−1, +1}, [n]. Both labels must occur.
 * @throws PeftError `LABELS_TOO_FEW`, `SHAPE_MISMATCH`.
 */
export function fitLogistic(features: HostMatrix, labels: ArrayLike<number>, c: number): LinearModel {
  checkLabels(features, labels);
  const problem = withBiasColumn(features, labels, c);
  let point = new Float64Array(problem.width);
  let state = evaluate(problem, point);
  const enough = TOLERANCE * largest(state.gradient);
  for (let step = 0; step < NEWTON_STEPS && largest(state.gradient) > enough; step++) {
    const direction = solvePositive(hessian(problem, state), state.gradient);
    const next = backtrack(problem, { point, state, direction });
    // No step makes the value smaller: what is left is rounding.
    if (next === null) break;
    [point, state] = [next.point, next.state];
  }
  const last = problem.width - 1;
  return { weights: point.slice(0, last), bias: point[last] as number };
}

/** xᵀw + b of each row, which is log p(+1) − log p(−1). */
export function decisions({ rows, columns, data }: HostMatrix, { weights, bias }: LinearModel): Float64Array {
  return matmul(matrix(data, [rows, columns]), matrix(weights, [columns, 1])).data.map(
    (value) => value + bias,
  ) as Float64Array;
}

function checkLabels(features: HostMatrix, labels: ArrayLike<number>): void {
  if (labels.length !== features.rows) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `Logistic regression needs one label a row, got ${labels.length} labels for ${features.rows} rows.`,
    );
  }
  const values = Array.from(labels);
  if (values.includes(1) && values.includes(-1)) return;
  throw new PeftError(
    "LABELS_TOO_FEW",
    `Logistic regression needs examples of both labels, +1 and −1, got ${[...new Set(values)].join(", ") || "none"}.`,
  );
}

/** The rows with a column of ones at the end: the last weight is the bias. */
interface LogisticProblem {
  readonly rows: number;
  readonly width: number;
  readonly data: Float64Array;
  readonly labels: ArrayLike<number>;
  readonly c: number;
}

function withBiasColumn({ rows, columns, data }: HostMatrix, labels: ArrayLike<number>, c: number): LogisticProblem {
  const width = columns + 1;
  const extended = new Float64Array(rows * width).fill(1);
  for (let i = 0; i < rows; i++) extended.set(data.subarray(i * columns, (i + 1) * columns), i * width);
  return { rows, width, data: extended, labels, c };
}

interface LogisticState {
  readonly value: number;
  readonly gradient: Float64Array;
  /** p(1 − p) of each row. */
  readonly curvature: Float64Array;
}

function evaluate({ rows, width, data, labels, c }: LogisticProblem, point: Float64Array): LogisticState {
  const gradient = Float64Array.from(point, (value, i) => (i === width - 1 ? 0 : value));
  let value = gradient.reduce((sum, w) => sum + w * w, 0) / 2;
  const curvature = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * width, (i + 1) * width);
    const y = labels[i] as number;
    const margin = y * dot(row, point);
    // 1 − p of the right label, and its logarithm, without overflow for large margins of either sign.
    const tail = Math.exp(-Math.abs(margin));
    const wrong = (margin > 0 ? tail : 1) / (1 + tail);
    value += c * (Math.log1p(tail) + Math.max(-margin, 0));
    curvature[i] = tail / (1 + tail) ** 2;
    for (let j = 0; j < width; j++) gradient[j] = (gradient[j] as number) - c * y * wrong * (row[j] as number);
  }
  return { value, gradient, curvature };
}

/** diag(1, …, 1, 0) + c·Xᵀ·diag(p(1 − p))·X, the bias coming last. */
function hessian({ rows, width, data, c }: LogisticProblem, { curvature }: LogisticState): HostMatrix {
  const weighted = Float64Array.from(data, (value, at) => c * value * (curvature[Math.floor(at / width)] as number));
  const result = matmul(transpose(matrix(data, [rows, width])), matrix(weighted, [rows, width]));
  for (let i = 0; i < width - 1; i++) result.data[i * (width + 1)] = (result.data[i * (width + 1)] as number) + 1;
  return result;
}

interface Search {
  readonly point: Float64Array<ArrayBuffer>;
  readonly state: LogisticState;
  readonly direction: Float64Array;
}

/** Halves the step until the value falls by enough of what its slope promises (Armijo's rule); null when it never does. */
function backtrack(problem: LogisticProblem, { point, state, direction }: Search): Omit<Search, "direction"> | null {
  const slope = dot(state.gradient, direction);
  for (let length = 1; length > 1e-12; length /= 2) {
    const moved = point.map((value, i) => value - length * (direction[i] as number));
    const next = evaluate(problem, moved);
    if (next.value <= state.value - 1e-4 * length * slope && next.value < state.value)
      return { point: moved, state: next };
  }
  return null;
}

/** x of A·x = b for a symmetric positive definite A, by Cholesky's factors, which are written over A. */
function solvePositive({ rows: n, data }: HostMatrix, b: Float64Array): Float64Array {
  const row = (i: number, length: number): Float64Array => (data as Float64Array).subarray(i * n, i * n + length);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const rest = (data[i * n + j] as number) - dot(row(i, j), row(j, j));
      // The floor keeps a bias that no example holds any more from dividing by zero.
      data[i * n + j] =
        i === j ? Math.sqrt(Math.max(rest, Number.MIN_VALUE ** 0.5)) : rest / (data[j * n + j] as number);
    }
  }
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) x[i] = ((x[i] as number) - dot(row(i, i), x)) / (data[i * n + i] as number);
  for (let i = n - 1; i >= 0; i--) {
    let rest = x[i] as number;
    for (let j = i + 1; j < n; j++) rest -= (data[j * n + i] as number) * (x[j] as number);
    x[i] = rest / (data[i * n + i] as number);
  }
  return x;
}

function largest(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
