import { matrix, PeftError } from "@peftjs/core";
import type { HostMatrix } from "@peftjs/core";
import { decisions, fitLogistic } from "./solve.ts";
import type { LinearModel } from "./solve.ts";

const FOLDS = 5;
/** Ten values from 1e-4 to 1e4, evenly spaced in the exponent; rounded, since powers are not exact. */
export const LOGISTIC_C: readonly number[] = Array.from({ length: 10 }, (_, i) =>
  Number((10 ** (-4 + (8 * i) / 9)).toPrecision(12)),
);

/**
 * Fold of each example, so that every fold holds nearly the same share of each label: examples of a label go to the folds in the order
 * in which they come, as scikit-learn's `StratifiedKFold` without shuffling. Labels of any kind, [n].
 * @throws PeftError `LABELS_TOO_FEW` when a label has fewer examples than there are folds.
 */
export function stratifiedFolds(labels: ArrayLike<number>, folds = FOLDS): Int32Array {
  const values = Array.from(labels);
  const kinds = [...new Set(values)];
  const counts = kinds.map((kind) => values.filter((value) => value === kind).length);
  const scarce = counts.findIndex((count) => count < folds);
  if (scarce >= 0) {
    throw new PeftError(
      "LABELS_TOO_FEW",
      `Label ${kinds[scarce]} has ${counts[scarce]} examples, too few for ${folds} folds. Give at least ${folds} examples of each label, or name c.`,
    );
  }
  const result = new Int32Array(values.length);
  let sorted = 0;
  kinds.forEach((kind, k) => {
    const count = counts[k] as number;
    // Dealt out like cards over all labels: fold f gets the examples f, f + folds, … of the sorted list.
    const dealt = Array.from({ length: count }, (_, i) => (sorted + i) % folds).sort((a, b) => a - b);
    let next = 0;
    values.forEach((value, i) => {
      if (value === kind) result[i] = dealt[next++] as number;
    });
    sorted += count;
  });
  return result;
}

export interface ChosenLogistic extends LinearModel {
  readonly c: number;
}

/**
 * Logistic regression whose c is the first of `LOGISTIC_C` with the best mean accuracy over five stratified folds, fitted again on all
 * examples. features [n, d], labels −1 or +1, [n].
 * @throws PeftError `LABELS_TOO_FEW`.
 */
export function fitLogisticByFolds(features: HostMatrix, labels: ArrayLike<number>): ChosenLogistic {
  const folds = stratifiedFolds(labels);
  const scores = LOGISTIC_C.map((c) => foldAccuracy(features, labels, { folds, c }));
  const c = LOGISTIC_C[scores.indexOf(Math.max(...scores))] as number;
  return { c, ...fitLogistic(features, labels, c) };
}

function foldAccuracy(
  features: HostMatrix,
  labels: ArrayLike<number>,
  { folds, c }: { readonly folds: Int32Array; readonly c: number },
): number {
  let sum = 0;
  for (let fold = 0; fold < FOLDS; fold++) {
    const inside = rowsWhere(folds, (value) => value !== fold);
    const outside = rowsWhere(folds, (value) => value === fold);
    const model = fitLogistic(
      pick(features, inside),
      inside.map((row) => labels[row] as number),
      c,
    );
    const margins = decisions(pick(features, outside), model);
    sum +=
      outside.filter((row, i) => (margins[i] as number) > 0 === (labels[row] as number) > 0).length / outside.length;
  }
  return sum / FOLDS;
}

function rowsWhere(folds: Int32Array, wanted: (fold: number) => boolean): number[] {
  return [...folds.keys()].filter((row) => wanted(folds[row] as number));
}

function pick({ columns, data }: HostMatrix, rows: readonly number[]): HostMatrix {
  const picked = new Float64Array(rows.length * columns);
  rows.forEach((row, i) => picked.set(data.subarray(row * columns, (row + 1) * columns), i * columns));
  return matrix(picked, [rows.length, columns]);
}
