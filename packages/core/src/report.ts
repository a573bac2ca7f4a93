import type { Adapter } from "./adapter/adapter.ts";
import { tokenRowsName } from "./adapter/tokens.ts";
import type { View } from "./adapter/view.ts";
import type { BaseModel } from "./model/model.ts";
import type { StoredTensor } from "./tensors.ts";

/** Sizes of what learns and of everything in memory. */
export interface TrainableReport {
  readonly trainable: number;
  /** Base parameters (tied ones once), the parameters of every attached adapter, and their copies of saved modules. */
  readonly total: number;
  /** 100 · trainable / total. */
  readonly percent: number;
  /** Of `trainable`, what lies outside saved modules: the number that papers state, which leave the head out. */
  readonly adapterOnly: number;
  /** Sizes of every attached adapter, active or not. */
  readonly adapters: Readonly<Record<string, AdapterSize>>;
}

export interface AdapterSize {
  /** The method's own parameters, and base parameters that it trains. */
  readonly parameters: number;
  /** Tensors that belong to it and are never trained. */
  readonly buffers: number;
  /** Trained rows of embeddings. */
  readonly tokenRows: number;
  /** Copies of modules that are trained in full, e.g. the head. */
  readonly savedModules: number;
}

/** The line the Python library prints: `trainable params: 887,042 || all params: 125,534,212 || trainable%: 0.7066`. */
export function formatTrainableReport({
  trainable,
  total,
  percent,
}: Pick<TrainableReport, "trainable" | "total" | "percent">): string {
  const digits = (n: number): string => n.toLocaleString("en-US");
  return `trainable params: ${digits(trainable)} || all params: ${digits(total)} || trainable%: ${percent.toFixed(4)}`;
}

/** Counts elements; tensors that are shared count once. */
export function countParameters(
  base: BaseModel,
  { adapters, view }: { readonly adapters: Iterable<Adapter>; readonly view: View },
): TrainableReport {
  const all = [...adapters];
  const learned = [...view.slots.values()].map((slot) => slot.read());
  const saved = new Set<StoredTensor>(all.flatMap((adapter) => overridden(adapter, "saved")));
  const trainable = size(learned);
  const total =
    size(base.parameters.values()) +
    all.reduce((sum, { params, buffers }) => sum + size([...params.values(), ...buffers.values()]), 0) +
    size(saved);
  return {
    trainable,
    total,
    percent: total === 0 ? 0 : (100 * trainable) / total,
    adapterOnly: size(learned.filter((tensor) => !saved.has(tensor))),
    adapters: Object.fromEntries(all.map((adapter) => [adapter.name, adapterSize(adapter)])),
  };
}

function adapterSize(adapter: Adapter): AdapterSize {
  const { params, buffers, tokens } = adapter;
  const tokenRows = size(tokens.map((rows) => params.get(tokenRowsName(rows)) as StoredTensor));
  return {
    parameters: size(params.values()) - tokenRows + size(overridden(adapter, "trained")),
    buffers: size(buffers.values()),
    tokenRows,
    savedModules: size(overridden(adapter, "saved")),
  };
}

function overridden({ overrides }: Adapter, wanted: "saved" | "trained"): StoredTensor[] {
  return [...overrides.values()].flatMap(({ kind, tensor }) => (kind === wanted ? [tensor] : []));
}

function size(tensors: Iterable<StoredTensor>): number {
  return [...new Set(tensors)].reduce((sum, { data }) => sum + data.length, 0);
}
