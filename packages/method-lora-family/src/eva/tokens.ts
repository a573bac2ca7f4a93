import { matrix, rowCounter } from "@peftjs/core";
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
  const counts = rowCounter(n, batch);
  const { input_ids: ids, labels } = batch;
  const perToken = useLabelMask && labels?.shape.join() === (ids?.shape ?? [n, 1]).join() && labels.data.length === n;
  return perToken ? (token) => counts(token) && labels.data[token] !== labelMaskValue : counts;
}
