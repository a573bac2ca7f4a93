import { float32, PeftError } from "@peftjs/core";
import type { FileContext, FileForm, HostTensor, LayerSite, Named, RestoreContext } from "@peftjs/core";
import type { SiftConfig } from "./config.ts";

/** δ [k] of a layer's weight: the values, or what they differ by from where they started. */
export function increments({ values, origin }: Named<HostTensor>): HostTensor {
  if (origin === undefined) return values as HostTensor;
  return combined(values as HostTensor, origin, (value, start) => value - start);
}

/** The file holds δ, however it was trained. */
export function siftFile({ config, sites }: FileContext<SiftConfig>): FileForm<SiftConfig> {
  const params = sites.map(({ site, params: { origin, ...others } }) => {
    if (origin === undefined) return [site.path, others] as const;
    return [site.path, { ...others, values: increments({ values: others["values"] as HostTensor, origin }) }] as const;
  });
  return { config, params: new Map(params) };
}

/**
 * What learns, from the file's δ.
 * @throws PeftError `ADAPTER_TENSORS` for places that are not in the tensor, or not in ascending order.
 */
export function restoreSift(context: RestoreContext<SiftConfig>): Named<HostTensor> {
  const { site, config, params } = context;
  const { values, indices, biasIndices } = params as Readonly<Record<string, HostTensor>>;
  if (indices !== undefined) requirePlaces(site, indices, site.inFeatures * site.outFeatures);
  if (biasIndices !== undefined) requirePlaces(site, biasIndices, site.outFeatures);
  if (config.weightDecayMode !== "weight" || indices === undefined) return {};
  const origin = entriesAt(context.weight, indices.data as Int32Array, site);
  return { origin, values: combined(values as HostTensor, origin, (value, start) => value + start) };
}

/** W[I] [k] of a weight in its layout, for places in (out, in) order. */
export function entriesAt(
  { data }: HostTensor,
  places: Int32Array,
  { layout, inFeatures, outFeatures }: Pick<LayerSite, "layout" | "inFeatures" | "outFeatures">,
): HostTensor {
  const at = (place: number): number =>
    layout === "out_in" ? place : (place % inFeatures) * outFeatures + Math.floor(place / inFeatures);
  const values = Float32Array.from(places, (place) => data[at(place)] as number);
  return float32(values, [places.length]);
}

function combined(a: HostTensor, b: HostTensor, combine: (a: number, b: number) => number): HostTensor {
  const values = Float32Array.from(a.data, (value: number, i: number) => combine(value, b.data[i] as number));
  return float32(values, a.shape);
}

function requirePlaces({ path }: LayerSite, { data }: HostTensor, size: number): void {
  const wrong = data.findIndex((place, i) => place <= (i === 0 ? -1 : (data[i - 1] as number)) || place >= size);
  if (wrong < 0) return;
  throw new PeftError(
    "ADAPTER_TENSORS",
    `The file names entry ${String(data[wrong])} of a tensor of "${path}" as number ${wrong}. Entries should ascend from 0 to at most ${size - 1}: ` +
      "the file is damaged, or belongs to another base model.",
  );
}
