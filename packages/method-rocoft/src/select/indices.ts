import { PeftError, patternValue } from "@peftjs/core";
import type { Generator, HostTensor, LayerSite, SiteContext } from "@peftjs/core";
import { selectionOf, type RocoftConfig } from "../config.ts";

/**
 * What calibration hands to `init`: the chosen coordinates of every layer by path, ascending. Rows and columns as themselves, an entry
 * (i, j) as i·in + j.
 */
export type ChosenCoordinates = ReadonlyMap<string, Int32Array>;

export interface SelectContext extends SiteContext<RocoftConfig> {
  readonly generator: Generator;
  /** Missing where nothing was scored: the values are about to be read from a file. */
  readonly chosen?: ChosenCoordinates | undefined;
}

/** How many rows, columns or entries a layer has. */
export function coordinateCount({ inFeatures, outFeatures }: LayerSite, mode: RocoftConfig["mode"]): number {
  return { row: outFeatures, column: inFeatures, entries: inFeatures * outFeatures }[mode];
}

/**
 * How many of them learn: r, at most all; k entries by `density` (rounded), `count`, `matchRows`·in or `matchRank`·(in + out).
 */
export function selectedCount({ site, config }: SiteContext<RocoftConfig>): number {
  const all = coordinateCount(site, config.mode);
  const listed = listedCoordinates({ site, config });
  if (listed !== null) return listed.length;
  if (config.mode !== "entries") return Math.min(config.rank, all);
  const { density, count, matchRows, matchRank } = config;
  const { inFeatures, outFeatures } = site;
  const wanted = [
    count,
    matchRows === null ? null : matchRows * inFeatures,
    matchRank === null ? null : matchRank * (inFeatures + outFeatures),
  ].find((number) => number !== null);
  return Math.min(wanted ?? Math.round((density ?? 0) * all), all);
}

/** Whether the coordinates of a layer are 0 … k−1, whatever its values: the first ones, or all of them. */
export function areLeading({ site, config }: SiteContext<RocoftConfig>): boolean {
  if (selectedCount({ site, config }) === coordinateCount(site, config.mode)) return true;
  return selectionOf(config) === "first" && listedCoordinates({ site, config }) === null;
}

/**
 * The coordinates of a layer that learn, ascending: as listed for it, or chosen as `select` says. Random ones are drawn without
 * replacement.
 */
export function selectCoordinates({ site, config, generator, chosen }: SelectContext): Int32Array {
  const listed = listedCoordinates({ site, config });
  if (listed !== null) return listed;
  const [all, k] = [coordinateCount(site, config.mode), selectedCount({ site, config })];
  const selection = selectionOf(config);
  if (selection === "random") return drawDistinct(k, all, generator);
  if (selection === "last") return Int32Array.from({ length: k }, (_, i) => all - k + i);
  if (selection === "uniform") return Int32Array.from({ length: k }, (_, i) => Math.floor(((i + 0.5) * all) / k));
  const first = Int32Array.from({ length: k }, (_, i) => i);
  return selection === "first" ? first : (chosen?.get(site.path) ?? first);
}

/** int32 values of a layer's `indices`: [r], or [2, k] of rows i and columns j. */
export function indexValues(
  coordinates: Int32Array,
  { mode, inFeatures }: { readonly mode: RocoftConfig["mode"]; readonly inFeatures: number },
): Int32Array {
  if (mode !== "entries") return coordinates;
  const k = coordinates.length;
  return Int32Array.from({ length: 2 * k }, (_, i) =>
    i < k ? Math.floor((coordinates[i] as number) / inFeatures) : (coordinates[i - k] as number) % inFeatures,
  );
}

/** The coordinates that a layer's `indices` stand for. */
export function coordinatesOf(
  { data }: HostTensor,
  { mode, inFeatures }: { readonly mode: RocoftConfig["mode"]; readonly inFeatures: number },
): Int32Array {
  if (mode !== "entries") return Int32Array.from(data);
  const k = data.length / 2;
  return Int32Array.from({ length: k }, (_, n) => (data[n] as number) * inFeatures + (data[k + n] as number));
}

/**
 * That a layer has the coordinates that a file names, each once and ascending, and that they are the first ones where the config says so.
 * @throws PeftError `ADAPTER_TENSORS`.
 */
export function requireCoordinates(coordinates: Int32Array, { site, config }: SiteContext<RocoftConfig>): void {
  const all = coordinateCount(site, config.mode);
  const leading = areLeading({ site, config });
  const bad = coordinates.findIndex((value, n) => {
    const least = n === 0 ? 0 : (coordinates[n - 1] as number) + 1;
    return value < least || value >= all || (leading && value !== n);
  });
  if (bad < 0) return;
  throw new PeftError(
    "ADAPTER_TENSORS",
    `The file's rocoft_indices of "${site.path}" are wrong at place ${bad}: got ${coordinates[bad]}, expected ascending numbers below ${all}` +
      `${leading ? `, here 0, 1, 2 and so on. Set select to "random" in its config for any others` : ""}.`,
  );
}

/** The list that the config has for a layer, ascending. */
function listedCoordinates({ site, config }: SiteContext<RocoftConfig>): Int32Array | null {
  const list = patternValue(config.indices, site.path);
  if (list === undefined) return null;
  const { inFeatures, outFeatures } = site;
  const flat = list.map((entry) => {
    const [i, j] = typeof entry === "number" ? [entry, entry] : entry;
    const fits = (config.mode === "column" || i < outFeatures) && (config.mode === "row" || j < inFeatures);
    if (fits) return typeof entry === "number" ? entry : i * inFeatures + j;
    throw new PeftError(
      "CONFIG_INVALID",
      `indices names ${config.mode === "entries" ? "the entry" : `the ${config.mode}`} ${JSON.stringify(entry)} of "${site.path}", ` +
        `whose weight has ${outFeatures} rows and ${inFeatures} columns. Indices count from 0.`,
    );
  });
  return Int32Array.from(flat).sort();
}

/** k of the numbers 0 … n−1, ascending, every choice equally likely (Floyd: the j-th draw is of 0 … n−k+j). */
function drawDistinct(k: number, n: number, generator: Generator): Int32Array {
  const drawn = new Set<number>();
  for (let last = n - k; last < n; last++) {
    const value = generator.next32() % (last + 1);
    drawn.add(drawn.has(value) ? last : value);
  }
  return Int32Array.from(drawn).sort();
}
