/** Counts of (label, prediction) pairs by label, by prediction and on the diagonal, over the classes that occur. */
interface Confusion {
  readonly total: number;
  readonly correct: number;
  /** Per class: times true, times predicted, times both. */
  readonly classes: readonly { readonly actual: number; readonly predicted: number; readonly hits: number }[];
}

function confusion(labels: ArrayLike<number>, predictions: ArrayLike<number>): Confusion {
  const classes = new Map<number, { actual: number; predicted: number; hits: number }>();
  const entry = (value: number): { actual: number; predicted: number; hits: number } => {
    let found = classes.get(value);
    if (found === undefined) classes.set(value, (found = { actual: 0, predicted: 0, hits: 0 }));
    return found;
  };
  let correct = 0;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    const prediction = predictions[i] as number;
    entry(label).actual++;
    entry(prediction).predicted++;
    if (label === prediction) {
      entry(label).hits++;
      correct++;
    }
  }
  return { total: labels.length, correct, classes: [...classes.values()] };
}

/** Share of predictions that equal the label. NaN without rows. */
export function accuracy(labels: ArrayLike<number>, predictions: ArrayLike<number>): number {
  const { correct, total } = confusion(labels, predictions);
  return correct / total;
}

/** Mean over the classes that occur (as label or prediction) of F1 = 2·hits/(actual + predicted). */
export function macroF1(labels: ArrayLike<number>, predictions: ArrayLike<number>): number {
  const { classes } = confusion(labels, predictions);
  return classes.reduce((sum, c) => sum + (2 * c.hits) / (c.actual + c.predicted), 0) / classes.length;
}

/**
 * Matthews correlation for any number of classes (Gorodkin 2004, R_K), with s rows, c correct, tₖ true and pₖ predicted:
 * (c·s − Σtₖpₖ) / √((s² − Σpₖ²)(s² − Σtₖ²)). Zero where the denominator is zero.
 */
export function matthews(labels: ArrayLike<number>, predictions: ArrayLike<number>): number {
  const { total, correct, classes } = confusion(labels, predictions);
  let cross = 0;
  let actual = 0;
  let predicted = 0;
  for (const c of classes) {
    cross += c.actual * c.predicted;
    actual += c.actual ** 2;
    predicted += c.predicted ** 2;
  }
  const denominator = Math.sqrt((total ** 2 - predicted) * (total ** 2 - actual));
  return denominator === 0 ? 0 : (correct * total - cross) / denominator;
}

/** Pearson's correlation of two lists. Zero where one of them is constant. */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const meanX = mean(x);
  const meanY = mean(y);
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < x.length; i++) {
    const dx = (x[i] as number) - meanX;
    const dy = (y[i] as number) - meanY;
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  const denominator = Math.sqrt(xx * yy);
  return denominator === 0 ? 0 : xy / denominator;
}

/** Spearman's rank correlation: Pearson's of the ranks, ties sharing the mean of theirs. */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number {
  return pearson(ranks(x), ranks(y));
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
}

function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i);
  order.sort((i, j) => (values[i] as number) - (values[j] as number));
  const result = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start;
    while (end + 1 < order.length && values[order[end + 1] as number] === values[order[start] as number]) end++;
    for (let i = start; i <= end; i++) result[order[i] as number] = (start + end) / 2 + 1;
    start = end + 1;
  }
  return result;
}

/** Metrics of labels and class scores: accuracy, macroF1, matthews. logits [n, classes] row-major. */
export function classificationMetrics(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): Record<string, number> {
  return {
    accuracy: accuracy(labels, predictions),
    macroF1: macroF1(labels, predictions),
    matthews: matthews(labels, predictions),
  };
}

/** Metrics of real-valued targets: pearson, spearman, and the mean of both. */
export function regressionMetrics(targets: ArrayLike<number>, predictions: ArrayLike<number>): Record<string, number> {
  const r = pearson(targets, predictions);
  const rho = spearman(targets, predictions);
  return { pearson: r, spearman: rho, pearsonSpearman: (r + rho) / 2 };
}
