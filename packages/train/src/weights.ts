import type { HostTensor, Named } from "@peftjs/core";

/** What a batch counts for in a mean over batches: the sum of its masked or row weights, else its number of rows. */
export function batchWeight(batch: Named<HostTensor>): number {
  const weights = batch["masked_weights"] ?? batch["row_weights"];
  if (weights !== undefined) {
    let sum = 0;
    for (const weight of weights.data) sum += weight;
    return sum;
  }
  const first = batch["masked_labels"] ?? batch["labels"] ?? Object.values(batch)[0];
  return first?.shape[0] ?? 0;
}
