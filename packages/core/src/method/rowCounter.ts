import type { HostTensor, Named } from "../tensors.ts";

/**
 * Which of the n rows that a layer has for a batch are worth looking at: tokens with attention, of texts that weigh something. A layer
 * that sees one row per text, as a pooler does, has the text's; where rows are neither, all of them count.
 */
export function rowCounter(n: number, batch: Named<HostTensor>): (row: number) => boolean {
  const { attention_mask: attention, row_weights: weights } = batch;
  const [texts = n, tokens = 1] = batch["input_ids"]?.shape ?? [];
  const weighs = (text: number): boolean => weights?.data[text] !== 0;
  if (n === texts * tokens) return (row) => weighs(Math.floor(row / tokens)) && attention?.data[row] !== 0;
  return n === texts ? weighs : () => true;
}
