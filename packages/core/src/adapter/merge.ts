import type * as tf from "@tensorflow/tfjs-core";
import * as tfjs from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import { onHost } from "../gradients.ts";
import type { LayerSite } from "../model/site.ts";
import { toHost, toTensor } from "../hostTensors.ts";
import type { MergeOptions } from "../modelOptions.ts";
import type { HostTensor, Named, StoredTensor } from "../tensors.ts";
import { storedLike, widen } from "../stored.ts";
import { layerTensors, type AdaptedLayer, type Adapter } from "./adapter.ts";
import { replaceRows, tokenRowsName, type TokenRows } from "./tokens.ts";

export interface MergeAdaptersOptions {
  /** Weights merged before, by parameter name. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
  /** The value of a base parameter without what was merged. */
  readonly own: (name: string) => StoredTensor;
  /** Refuse a result with NaN or infinite entries. */
  readonly safe: boolean;
  /** Stores the result as `own` is stored. */
  readonly requantize: boolean;
  readonly onProgress?: MergeOptions["onProgress"];
}

interface Values {
  readonly merged: ReadonlyMap<string, StoredTensor>;
  readonly own: MergeAdaptersOptions["own"];
}

/**
 * The weights and biases that the adapters' layers come to, W + ΔW and b + Δb, by parameter name; each adapter adds to what the ones
 * before it left. They are float32, or, with `requantize`, those merged before too, stored as the base model stores its own: rounded
 * once, after the last adapter. Nothing is written to.
 * @throws PeftError `MERGE_UNSUPPORTED`, or `MERGE_NOT_FINITE` when `safe`.
 */
export function mergeAdapters(
  adapters: readonly Adapter[],
  { weights, own, safe, requantize, onProgress }: MergeAdaptersOptions,
): Map<string, StoredTensor> {
  const merged = new Map(weights);
  const total = adapters.reduce((sum, { layers, tokens }) => sum + layers.length + tokens.length, 0);
  let done = 0;
  for (const adapter of adapters) {
    requireMergeable(adapter);
    const put = (changed: readonly [string, HostTensor][]): void => {
      for (const [name, tensor] of changed) {
        if (safe) requireFinite(tensor, { name, adapter });
        merged.set(name, tensor);
      }
      onProgress?.({ done: ++done, total });
    };
    for (const layer of adapter.layers) put(mergeLayer(adapter, layer, { merged, own }));
    for (const rows of adapter.tokens) put(mergeRows(adapter, rows, { merged, own }));
  }
  return requantize ? storedLikeOwn(merged, own) : merged;
}

/** Names that share a tensor go on sharing it. */
function storedLikeOwn(
  merged: ReadonlyMap<string, StoredTensor>,
  own: MergeAdaptersOptions["own"],
): Map<string, StoredTensor> {
  const done = new Map<StoredTensor, StoredTensor>();
  return new Map(
    [...merged].map(([name, tensor]) => {
      const stored = done.get(tensor) ?? storedLike(tensor, own(name));
      done.set(tensor, stored);
      return [name, stored];
    }),
  );
}

/** Rows in their places in all the tables that share them, which stay one tensor. */
function mergeRows(adapter: Adapter, rows: TokenRows, { merged, own }: Values): [string, HostTensor][] {
  const values = adapter.params.get(tokenRowsName(rows)) as HostTensor;
  const first = rows.tables[0] as string;
  const table = replaceRows(widen(merged.get(first) ?? own(first)), rows.ids, values);
  return rows.tables.map((name) => [name, table]);
}

export function requireMergeable({ name, method, layers }: Adapter): void {
  if (method.capabilities.merge && (method.delta !== undefined || method.forward === undefined || layers.length === 0))
    return;
  throw new PeftError(
    "MERGE_UNSUPPORTED",
    `The adapter "${name}" cannot be merged: method "${method.name}" computes more than a change of its layers' weights. ` +
      `Keep it attached, or save it with saveAdapter.`,
  );
}

function mergeLayer(adapter: Adapter, layer: AdaptedLayer, { merged, own }: Values): [string, HostTensor][] {
  const { method } = adapter;
  const { site, config } = layer;
  if (method.delta === undefined) return [];
  const { newWeight, newBias } = onHost(() => {
    const read = (name: string) => {
      const tensor = toTensor(own(name));
      const changed = merged.get(name);
      return { tensor, below: changed === undefined ? tensor : toTensor(changed) };
    };
    const weight = read(site.weight);
    const bias = site.bias === null ? null : read(site.bias);
    const params: Named<tf.Tensor> = Object.fromEntries(
      Object.entries(layerTensors(adapter, layer)).map(([short, tensor]) => [short, toTensor(tensor)]),
    );
    const below = { weight: weight.below as tf.Tensor2D, bias: (bias?.below ?? null) as tf.Tensor1D | null };
    const delta = (method.delta as NonNullable<typeof method.delta>)({
      ...{ site, config, params, below },
      weight: weight.tensor as tf.Tensor2D,
      bias: (bias?.tensor ?? null) as tf.Tensor1D | null,
    });
    return { newWeight: added(below.weight, delta.weight), newBias: mergedBias(site, below.bias, delta.bias) };
  });
  const result: [string, HostTensor][] = [[site.weight, newWeight]];
  if (newBias !== null && site.bias !== null) result.push([site.bias, newBias]);
  return result;
}

function mergedBias(site: LayerSite, bias: tf.Tensor1D | null, delta: tf.Tensor1D | undefined): HostTensor | null {
  if (delta === undefined) return null;
  if (bias === null) {
    throw new PeftError(
      "MERGE_UNSUPPORTED",
      `${site.path} has no bias, so the adapter's bias cannot be merged into it. Keep the adapter attached.`,
    );
  }
  return added(bias, delta);
}

function added(tensor: tf.Tensor, delta: tf.Tensor): HostTensor {
  return toHost(tfjs.add(tensor, delta));
}

function requireFinite(
  tensor: HostTensor,
  { name, adapter }: { readonly name: string; readonly adapter: Adapter },
): void {
  const bad = tensor.data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  throw new PeftError(
    "MERGE_NOT_FINITE",
    `Merging the adapter "${adapter.name}" would put ${String(tensor.data[bad])} at position ${bad} of "${name}". Nothing was merged. ` +
      `The adapter's training diverged: load an earlier checkpoint or lower the learning rate.`,
  );
}
