import type { Adapter } from "./adapter/adapter.ts";
import type { BaseModel } from "./model/model.ts";
import type { HostTensor, StoredTensor } from "./tensors.ts";

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

/** Counts elements; tensors that are shared count once. */
export function countParameters(
  base: BaseModel,
  { adapters, trainable }: { readonly adapters: Iterable<Adapter>; readonly trainable: Iterable<HostTensor> },
): TrainableReport {
  const size = (tensors: Iterable<StoredTensor>): number =>
    [...new Set(tensors)].reduce((sum, { data }) => sum + data.length, 0);
  const learned = size(trainable);
  let total = size(base.parameters.values());
  for (const { params, buffers, overrides } of adapters) {
    const saved = [...overrides.values()].flatMap(({ kind, tensor }) => (kind === "saved" ? [tensor] : []));
    total += size([...params.values(), ...buffers.values(), ...saved]);
  }
  return { trainable: learned, total, percent: total === 0 ? 0 : (100 * learned) / total };
}
