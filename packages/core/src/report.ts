/** Sizes of what learns and of everything in memory. */
export interface TrainableReport {
  readonly trainable: number;
  /** Base parameters (tied ones once), the parameters of every attached adapter, and their copies of saved modules. */
  readonly total: number;
  /** 100 · trainable / total. */
  readonly percent: number;
}

/** The line the Python library prints: `trainable params: 887,042 || all params: 125,534,212 || trainable%: 0.7066`. */
export function formatTrainableReport({ trainable, total, percent }: TrainableReport): string {
  const digits = (n: number): string => n.toLocaleString("en-US");
  return `trainable params: ${digits(trainable)} || all params: ${digits(total)} || trainable%: ${percent.toFixed(4)}`;
}
