/** Per row, the features that occur. */
export type SparseRows = readonly Int32Array[];

/** Scores = Σ_occurring features weight/√(number of them) + bias. */
export interface LinearModel {
  readonly outputs: number;
  /** [features + 1, outputs]; the last row is the bias. */
  readonly weights: Float32Array;
}

const EPOCHS = 25;

const LEARNING_RATE = 0.5;

/**
 * Multinomial logistic regression (one output: least squares) with an L2 penalty, by Adagrad over single rows in a fixed
 * order. The penalty of a feature is paid when it occurs.
 */
export function fitLinear(input: {
  readonly rows: SparseRows;
  readonly targets: readonly number[];
  readonly features: number;
  readonly outputs: number;
  readonly penalty: number;
}): LinearModel {
  const { rows, targets, features, outputs, penalty } = input;
  const weights = new Float32Array((features + 1) * outputs);
  const squares = new Float32Array(weights.length).fill(1e-2);
  if (outputs === 1) weights[features] = targets.reduce((sum, target) => sum + target, 0) / targets.length;
  const occurrences = new Float32Array(features + 1);
  for (const row of rows) for (const feature of row) occurrences[feature] = (occurrences[feature] as number) + 1;
  occurrences[features] = Infinity;

  const update = (feature: number, scale: number, errors: Float64Array): void => {
    // One pass over the rows pays the whole penalty of a feature, however rare it is.
    const decay = (penalty * rows.length) / (occurrences[feature] as number);
    for (let k = 0; k < outputs; k++) {
      const at = feature * outputs + k;
      const gradient = scale * (errors[k] as number) + decay * (weights[at] as number);
      squares[at] = (squares[at] as number) + gradient * gradient;
      weights[at] = (weights[at] as number) - (LEARNING_RATE * gradient) / Math.sqrt(squares[at] as number);
    }
  };
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (let step = 0; step < rows.length; step++) {
      // Rows are already in random order; a stride keeps epochs from ending on the same ones.
      const i = (step * 7919 + epoch) % rows.length;
      const row = rows[i] as Int32Array;
      const errors = errorsOf(scoresOf({ outputs, weights }, row), targets[i] as number);
      for (const feature of row) update(feature, 1 / Math.sqrt(row.length), errors);
      update(features, 1, errors);
    }
  }
  return { outputs, weights };
}

/** Class numbers, or values with one output. */
export function predictLinear(model: LinearModel, rows: SparseRows): number[] {
  return rows.map((row) => {
    const scores = scoresOf(model, row);
    return model.outputs === 1 ? (scores[0] as number) : scores.indexOf(Math.max(...scores));
  });
}

function scoresOf({ outputs, weights }: LinearModel, row: Int32Array): Float64Array {
  const scores = new Float64Array(outputs);
  for (const feature of row) {
    for (let k = 0; k < outputs; k++) scores[k] = (scores[k] as number) + (weights[feature * outputs + k] as number);
  }
  const scale = 1 / Math.sqrt(Math.max(row.length, 1));
  const bias = weights.length - outputs;
  return scores.map((score, k) => score * scale + (weights[bias + k] as number));
}

/** Derivative of the loss with respect to the scores. */
function errorsOf(scores: Float64Array, target: number): Float64Array {
  if (scores.length === 1) return scores.map((score) => score - target);
  const largest = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value, k) => value / sum - (k === target ? 1 : 0));
}
