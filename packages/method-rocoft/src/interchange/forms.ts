import { float32, int32 } from "@peftjs/core";
import type { FileForm, HostTensor, LayerSite, SparseLayer } from "@peftjs/core";
import { RocoftConfig } from "../config.ts";
import { indexValues } from "../select/indices.ts";

/** What rows or columns of a weight have learned. */
export interface Lines {
  readonly site: LayerSite;
  /** R or C, ascending. */
  readonly indices: Int32Array;
  /** D [r, in] of rows, [out, r] of columns. */
  readonly change: HostTensor;
  /** δb; undefined where the bias does not learn. */
  readonly bias?: HostTensor | undefined;
}

/** Rows or columns as an adapter; the config lists them where they are not the first ones. */
export function formOfLines(mode: "row" | "column", layers: readonly Lines[]): FileForm<RocoftConfig> {
  const rank = Math.max(...layers.map(({ indices }) => indices.length));
  const leading = layers.every(({ indices }) => indices.every((index, i) => index === i));
  const others = layers.filter(({ indices }) => indices.length !== rank);
  const byPath = <T>(of: readonly Lines[], value: (layer: Lines) => T): Record<string, T> =>
    Object.fromEntries(of.map((layer) => [layer.site.path, value(layer)]));
  return {
    config: RocoftConfig.parse({
      ...{ mode, rank, bias: layers.some(({ bias }) => bias !== undefined) ? "targets" : "none" },
      rankPattern: byPath(others, ({ indices }) => indices.length),
      indices: leading ? {} : byPath(layers, ({ indices }) => [...indices]),
    }),
    params: new Map(
      layers.map(({ site, indices, change, bias }) => [
        site.path,
        {
          delta: change,
          indices: int32(indices, [indices.length]),
          ...(bias === undefined ? {} : { biasDelta: bias }),
        },
      ]),
    ),
  };
}

/** Entries, r·(in + out) of each weight, as an adapter; biases by path. */
export function formOfEntries(
  rank: number,
  layers: readonly SparseLayer[],
  biases: ReadonlyMap<string, HostTensor> = new Map(),
): FileForm<RocoftConfig> {
  const params = layers.map(({ site, places, values }) => {
    const bias = biases.get(site.path);
    const indices = indexValues(places, { mode: "entries", inFeatures: site.inFeatures });
    const own = { delta: float32(values, [values.length]), indices: int32(indices, [2, places.length]) };
    return [site.path, bias === undefined ? own : { ...own, biasDelta: bias }] as const;
  });
  const config = { mode: "entries", matchRank: rank, bias: biases.size > 0 ? "targets" : "none" };
  return { config: RocoftConfig.parse(config), params: new Map(params) };
}
