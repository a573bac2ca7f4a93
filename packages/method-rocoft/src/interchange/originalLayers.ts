import { float32, sparseForm, sparseLayers, widen, zeros } from "@peftjs/core";
import type { BaseModel, FileForm, HostTensor, LayerSite, SparseLayer, TensorSource } from "@peftjs/core";
import type { RocoftConfig } from "../config.ts";
import { sliceOf } from "../slice.ts";
import { formOfEntries, formOfLines } from "./forms.ts";
import { unsupported } from "./unsupported.ts";

/** A layer of the original code, as its checkpoint holds it. */
export interface OriginalLayer {
  readonly site: LayerSite;
  readonly mode: RocoftConfig["mode"];
  /** Rows or columns that learned, which are the first. */
  readonly rank: number;
  /** The whole weight [out, in]. */
  readonly weight: HostTensor;
}

/** The layers of a checkpoint, in the model's order. */
export async function originalLayers(base: BaseModel, source: TensorSource): Promise<OriginalLayer[]> {
  const names = new Set(source.names);
  const layers: OriginalLayer[] = [];
  for (const site of base.sites) {
    const [learned, rest, entries] = ["trainable_weight", "non_trainable_weight", "weight.0"].map(
      (suffix) => `${site.path}.${suffix}`,
    ) as [string, string, string];
    if (names.has(entries)) {
      requireShape(site, source.info(entries).shape);
      layers.push({ site, mode: "entries", rank: 0, weight: await source.tensor(entries) });
    } else if (names.has(learned) && names.has(rest))
      layers.push(joined(site, await source.tensor(learned), await source.tensor(rest)));
  }
  return layers;
}

/** Rows lie above each other, columns side by side. */
function joined(site: LayerSite, learned: HostTensor, rest: HostTensor): OriginalLayer {
  const { inFeatures, outFeatures } = site;
  const [rows = 0, columns = 0] = learned.shape;
  const [restRows = 0, restColumns = 0] = rest.shape;
  const byRow = columns === inFeatures && rows + restRows === outFeatures;
  requireShape(site, byRow ? [rows + restRows, restColumns] : [restRows, columns + restColumns]);
  if (byRow) {
    const data = new Float32Array(outFeatures * inFeatures);
    data.set(learned.data);
    data.set(rest.data, learned.data.length);
    return { site, mode: "row", rank: rows, weight: float32(data, [outFeatures, inFeatures]) };
  }
  const data = Float32Array.from({ length: outFeatures * inFeatures }, (_, n) => {
    const [i, j] = [Math.floor(n / inFeatures), n % inFeatures];
    return (j < columns ? learned.data[i * columns + j] : rest.data[i * restColumns + j - columns]) as number;
  });
  return { site, mode: "column", rank: columns, weight: float32(data, [outFeatures, inFeatures]) };
}

function requireShape({ path, inFeatures, outFeatures, layout }: LayerSite, shape: readonly number[]): void {
  if (layout === "out_in" && shape.join() === `${outFeatures},${inFeatures}`) return;
  throw unsupported(
    `The checkpoint has a weight [${shape.join(", ")}] of "${path}", where this model's is [${outFeatures}, ${inFeatures}]` +
      `${layout === "out_in" ? "" : ", stored [in, out], a layer that the original code does not know"}. It belongs to another base model.`,
  );
}

/**
 * D = W − W₀ of layers that are all of one mode.
 * @throws PeftError `INTERCHANGE_UNSUPPORTED` for several modes, or where D is not zero in a row or column that did not learn.
 */
export function formOfOriginal(
  base: BaseModel,
  layers: readonly OriginalLayer[],
  biases: ReadonlyMap<string, HostTensor>,
): FileForm<RocoftConfig> {
  const [mode = "row", ...others] = new Set(layers.map((layer) => layer.mode));
  if (others.length > 0)
    throw unsupported(
      `The checkpoint has layers of the kinds ${[mode, ...others].join(", ")}. An adapter has one; import a checkpoint of one.`,
    );
  if (mode !== "entries")
    return formOfLines(
      mode,
      layers.map((layer) => ({ ...linesOf(base, layer, mode), bias: biases.get(layer.site.path) })),
    );
  const { config, params } = sparseForm(layers.map((layer) => entriesOf(base, layer)));
  const sites = layers.map(({ site }) => ({ site, config, params: params.get(site.path) ?? {}, state: {} }));
  return formOfEntries(config.rank, sparseLayers({ config, sites }), biases);
}

function linesOf(
  base: BaseModel,
  layer: OriginalLayer,
  mode: "row" | "column",
): { readonly site: LayerSite; readonly indices: Int32Array; readonly change: HostTensor } {
  const { site, rank } = layer;
  const whole = changeOf(base, layer);
  const learns = (n: number): boolean =>
    (mode === "row" ? Math.floor(n / site.inFeatures) : n % site.inFeatures) < rank;
  if (whole.data.some((value, n) => value !== 0 && !learns(n))) {
    throw unsupported(
      `The checkpoint differs from "${base.name}" in ${mode}s of "${site.path}" other than the first ${rank}, which did not learn. ` +
        `It was trained from another base model, or with ${mode}s chosen by score, which it does not name.`,
    );
  }
  const indices = Int32Array.from({ length: rank }, (_, i) => i);
  const shape = mode === "row" ? [rank, site.inFeatures] : [site.outFeatures, rank];
  return { site, indices, change: float32(sliceOf(whole.data, indices, { site, mode }), shape) };
}

/** Which entries learned is not in the checkpoint: they are those that changed. */
function entriesOf(base: BaseModel, layer: OriginalLayer): SparseLayer {
  const { data } = changeOf(base, layer);
  const places = Int32Array.from([...data.keys()].filter((place) => data[place] !== 0));
  return { site: layer.site, places, values: Float32Array.from(places, (place) => data[place] as number) };
}

function changeOf(base: BaseModel, { site, weight }: OriginalLayer): HostTensor {
  return minus(weight, base.parameters.get(site.weight));
}

/** a − b, element by element; a itself without a b. */
export function minus(a: HostTensor, b: Parameters<typeof widen>[0] = zeros(a.shape)): HostTensor {
  const { data } = widen(b);
  return float32(
    Float32Array.from(a.data, (value, i) => value - (data[i] as number)),
    a.shape,
  );
}
