/** One row of a data set. */
export interface DataRow {
  readonly text: string;
  readonly textPair?: string;
  /** A class name or number, or a value for regression. */
  readonly label?: string | number;
}

/** What the labels of a data set mean. */
export interface LabelScheme {
  readonly kind: "classification" | "regression";
  /** Class names in the order of the logits; empty for regression. */
  readonly labels: readonly string[];
}
