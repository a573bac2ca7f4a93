import type * as tf from "@tensorflow/tfjs-core";
import type { Named } from "../tensors.ts";
import type { Adapter } from "./adapter.ts";
import type { View } from "./view.ts";

/** The penalties of the adapters that learn, one per adapter whose method has one. */
export function adapterPenalties(
  { view, learning }: { readonly view: View; readonly learning: readonly Adapter[] },
  tensors: readonly Named<tf.Tensor>[],
): tf.Scalar[] {
  const attached = [...view.layers.values()].flat();
  const find = (key: string): tf.Tensor => tensors.find((group) => key in group)?.[key] as tf.Tensor;
  return learning.flatMap((adapter) => {
    const { method, config } = adapter;
    if (method.penalty === undefined) return [];
    const own = attached.filter((entry) => entry.adapter === adapter);
    const sites = own.map(({ layer, keys }) => ({
      site: layer.site,
      config: layer.config,
      params: Object.fromEntries([...keys].map(([short, key]) => [short, find(key)])),
    }));
    return [method.penalty({ sites, config })];
  });
}
