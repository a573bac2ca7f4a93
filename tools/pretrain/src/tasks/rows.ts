export type Split = "train" | "dev" | "test";

export const SPLITS: readonly Split[] = ["train", "dev", "test"];

/** Rows of a full task. */
export const SPLIT_ROWS: Readonly<Record<Split, number>> = { train: 8000, dev: 1000, test: 2000 };

export interface TaskRow {
  readonly text: string;
  readonly textPair?: string;
  /** A class name, or a number for regression. */
  readonly label: string | number;
}

/** What a task's dev and test rows were made of: none of it may enter the corpus. */
export interface Sealed {
  readonly speeches: ReadonlySet<string>;
  readonly brownDocuments: ReadonlySet<string>;
  readonly synsets: ReadonlySet<string>;
  /** Lower-case headwords of the sealed synsets. */
  readonly headwords: ReadonlySet<string>;
}

export type TaskSplits = Readonly<Record<Split, readonly TaskRow[]>>;

export interface BuiltTask {
  readonly name: string;
  readonly kind: "classification" | "regression";
  /** In the order of class numbers; empty for regression. */
  readonly labels: readonly string[];
  readonly metrics: readonly string[];
  readonly splits: TaskSplits;
  /** What a row is and how it was made, for the card. */
  readonly about: string;
  readonly sources: readonly string[];
  readonly licence: string;
  /** What keeps train, dev and test apart. */
  readonly grouping: string;
}
