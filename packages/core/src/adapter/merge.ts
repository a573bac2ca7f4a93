import type * as tf from "@tensorflow/tfjs-core";
import * as tfjs from "@tensorflow/tfjs-core";
import { PeftError } from "../errors.ts";
import { onHost } from "../gradients.ts";
import type { LayerSite } from "../model/site.ts";
import { toHost, toTensor } from "../hostTensors.ts";
import type { HostTensor, Named, StoredTensor } from "../tensors.ts";
import { layerTensors, type AdaptedLayer, type Adapter } from "./adapter.ts";

export interface MergeAdaptersOptions {
  /** Weights merged before, by parameter name. */
  readonly weights: ReadonlyMap<string, HostTensor>;
  /** The value of a base parameter without what was merged. */
  readonly own: (name: string) => StoredTensor;
  /** Refuse a result with NaN or infinite entries. */
  readonly safe: boolean;
}

/**
 * The weights and biases that the adapters' layers come to, W + ΔW and b + Δb, by parameter name; each adapter adds to what the ones
 * before it left. They are float32. Nothing is written to.
 * @throws PeftError `MERGE_UNSUPPORTED`, or `MERGE_NOT_FINITE` when `safe`.
 */
export function mergeAdapters(
  adapters: readonly Adapter[],
  { weights, own, safe }: MergeAdaptersOptions,
): Map<string, HostTensor> {
  const merged = new Map(weights);
  for (const adapter of adapters) {
    requireMergeable(adapter);
    for (const layer of adapter.layers) {
      for (const [name, tensor] of mergeLayer(adapter, layer, { merged, own })) {
        if (safe) requireFinite(tensor, { name, adapter });
        merged.set(name, tensor);
      }
    }
  }
  return merged;
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

function mergeLayer(
  adapter: Adapter,
  layer: AdaptedLayer,
  { merged, own }: { readonly merged: ReadonlyMap<string, HostTensor>; readonly own: MergeAdaptersOptions["own"] },
): [string, HostTensor][] {
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
