import { z } from "zod";
import { PeftError } from "../errors.ts";
import type { LayerSite } from "../model/site.ts";
import { targetFields } from "../targeting.ts";
import { float32, int32, zeros, type HostTensor } from "../tensors.ts";
import type { AdapterContext, FileForm } from "./contexts.ts";
import { defineMethod, type Method, type Wire } from "./method.ts";

/** Settings of a file of single entries. */
export const SparseFileConfig = z.strictObject({
  ...targetFields,
  rank: z.int().positive().describe("r: the file has r·(in + out) entries of every weight."),
});
export type SparseFileConfig = z.infer<typeof SparseFileConfig>;

export interface SparseFileOptions {
  readonly name: string;
  readonly package: string;
  readonly peftType: string;
  /** Suffixes of the values [m] and of their rows and columns, int32 [2, m]. */
  readonly tensors: { readonly values: string; readonly indices: string };
  readonly constants: NonNullable<Wire<SparseFileConfig>["constants"]>;
}

/**
 * A type of file that adds values to single entries of the weights [out, in] of linear layers: as many as low-rank factors of rank r have,
 * m = r·(in + out), with one r for all layers. To be an {@link Interchange}'s carrier; `sparseForm` and `sparseLayers` fill and read it.
 */
export function sparseFile({ tensors, constants, peftType, ...names }: SparseFileOptions): Method<SparseFileConfig> {
  return defineMethod<SparseFileConfig>({
    ...names,
    description: "Changes of single entries of weights.",
    config: SparseFileConfig,
    wire: {
      ...{ peftType, tensors, constants },
      config: { targetModules: "target_modules", modulesToSave: "modules_to_save", rank: "r" },
    },
    capabilities: { merge: false, multiAdapter: false, identityAtStart: false },
    targets: (config) => config,
    init: ({ site, config }) => {
      requirePlain(site);
      const count = config.rank * (site.inFeatures + site.outFeatures);
      return { params: { values: zeros([count]) }, buffers: { indices: zeros([2, count], "int32") } };
    },
  });
}

/** Changes of entries of one weight. */
export interface SparseLayer {
  readonly site: LayerSite;
  /** i·in + j of the entry (i, j), each once. */
  readonly places: Int32Array;
  readonly values: Float32Array;
}

/**
 * Entries as a file of them has them: with the smallest r that holds those of every layer, filled up with entries that are not among them
 * and change by zero.
 * @throws PeftError `INTERCHANGE_UNSUPPORTED` for a weight that is stored [in, out], or that has fewer than r·(in + out) entries.
 */
export function sparseForm(layers: readonly SparseLayer[]): FileForm<SparseFileConfig> {
  const rank = Math.max(1, ...layers.map(({ site, places }) => Math.ceil(places.length / perimeter(site))));
  const params = layers.map((layer) => [layer.site.path, filled(layer, rank)] as const);
  return { config: SparseFileConfig.parse({ rank }), params: new Map(params) };
}

/**
 * The entries of a file, in ascending order, and with those that fill it up.
 * @throws PeftError `INTERCHANGE_UNSUPPORTED` for an entry outside its weight, or given twice.
 */
export function sparseLayers({ sites }: AdapterContext<SparseFileConfig>): SparseLayer[] {
  return sites.map(({ site, params }) => {
    const [values, indices] = [params["values"], params["indices"]] as [HostTensor, HostTensor];
    const count = values.data.length;
    const index = (at: number): number => indices.data[at] as number;
    const places = Array.from({ length: count }, (_, n) => index(n) * site.inFeatures + index(count + n));
    const inside = places.every(
      (_, n) => isBelow(index(n), site.outFeatures) && isBelow(index(count + n), site.inFeatures),
    );
    if (!inside || new Set(places).size < count) {
      throw new PeftError(
        "INTERCHANGE_UNSUPPORTED",
        `The file names an entry of "${site.path}" ${inside ? "twice" : `outside its weight [${site.outFeatures}, ${site.inFeatures}]`}. ` +
          `Each of its ${count} entries should be another one of that weight: the file is damaged, or belongs to another base model.`,
      );
    }
    return ascending({ site, places: Int32Array.from(places), values: Float32Array.from(values.data) });
  });
}

function isBelow(index: number, size: number): boolean {
  return index >= 0 && index < size;
}

function perimeter({ inFeatures, outFeatures }: LayerSite): number {
  return inFeatures + outFeatures;
}

function filled({ site, places, values }: SparseLayer, rank: number): Readonly<Record<string, HostTensor>> {
  requirePlain(site);
  const [count, all] = [rank * perimeter(site), site.inFeatures * site.outFeatures];
  if (count > all) {
    throw new PeftError(
      "INTERCHANGE_UNSUPPORTED",
      `Such a file holds r·(in + out) entries of every weight: here r = ${rank}, ${count} entries of "${site.path}", which has ${all}. ` +
        `Train fewer entries, or leave that layer out.`,
    );
  }
  const taken = new Set(places);
  const free = Array.from({ length: count }, (_, place) => place).filter((place) => !taken.has(place));
  const layer = ascending({
    site,
    places: Int32Array.from([...places, ...free.slice(0, count - places.length)]),
    values: Float32Array.from({ length: count }, (_, n) => values[n] ?? 0),
  });
  const rows = layer.places.map((place) => Math.floor(place / site.inFeatures));
  const columns = layer.places.map((place) => place % site.inFeatures);
  return { values: float32(layer.values, [count]), indices: int32(Int32Array.from([...rows, ...columns]), [2, count]) };
}

function ascending({ site, places, values }: SparseLayer): SparseLayer {
  const order = Array.from(places, (_, n) => n).sort((a, b) => (places[a] as number) - (places[b] as number));
  return {
    site,
    places: Int32Array.from(order, (n) => places[n] as number),
    values: Float32Array.from(order, (n) => values[n] as number),
  };
}

/** Python's type of file is about its plain linear layers alone. */
function requirePlain({ path, kind, layout }: LayerSite): void {
  if (kind === "linear" && layout === "out_in") return;
  throw new PeftError(
    "INTERCHANGE_UNSUPPORTED",
    `Such a file is about linear layers whose weight is stored [out, in], but "${path}" is ` +
      `${kind === "linear" ? "stored [in, out]" : `of kind ${kind}`}. Leave it out of the targets, or save the adapter in its own form.`,
  );
}
