import { matrix } from "@peftjs/core";
import type { HostMatrix, HostTensor, Named } from "@peftjs/core";
import type { EvaSettings } from "./options.ts";

type Masks = Pick<EvaSettings, "useLabelMask" | "labelMaskValue">;

/**
 * The rows of a layer's input [n, in] that count: tokens with attention, in rows of the batch that weigh something, and, when labels
 * [B, T] are per token, not masked there. A layer that sees one row per text (n = B, a pooler) has the text's.
 */
export function countedRows(input: HostTensor, batch: Named<HostTensor>, masks: Masks): HostMatrix {
  const [rows, features] = input.shape as readonly [number, number];
  const counts = counter(rows, batch, masks);
  const kept = Array.from({ length: rows }, (_, row) => row).filter(counts);
  const data = new Float32Array(kept.length * features);
  kept.forEach((row, i) =>
    data.set(input.data.subarray(row * features, (row + 1) * features) as Float32Array, i * features),
  );
  return matrix(data, [kept.length, features]);
}

function counter(
  n: number,
  batch: Named<HostTensor>,
  { useLabelMask, labelMaskValue }: Masks,
): (row: number) => boolean {
  const [texts = n, tokens = 1] = batch["input_ids"]?.shape ?? [];
  const { attention_mask: attention, labels, row_weights: weights } = batch;
  const weighs = (text: number): boolean => weights === undefined || weights.data[text] !== 0;
  if (n !== texts * tokens) return n === texts ? weighs : () => true;
  const perToken = useLabelMask && labels?.shape.join() === [texts, tokens].join() ? labels : undefined;
  return (token) =>
    weighs(Math.floor(token / tokens)) && attention?.data[token] !== 0 && perToken?.data[token] !== labelMaskValue;
}
