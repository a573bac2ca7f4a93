import { float32 } from "@peftjs/core";
import type { HostTensor, LayerSite, Named } from "@peftjs/core";
import type { RocoftConfig } from "./config.ts";

export interface SliceOptions {
  readonly site: Pick<LayerSite, "layout" | "inFeatures" | "outFeatures">;
  readonly mode: RocoftConfig["mode"];
}

/**
 * What a weight holds at the given coordinates, whichever way it is stored: W[R, :] [r, in], W[:, C] [out, r], or entries [k]. The
 * coordinate of an entry (i, j) is i·in + j.
 */
export function sliceOf(
  weight: HostTensor["data"],
  coordinates: Int32Array,
  { site, mode }: SliceOptions,
): Float32Array {
  const { layout, inFeatures, outFeatures } = site;
  const at = (i: number, j: number): number =>
    weight[layout === "out_in" ? i * inFeatures + j : j * outFeatures + i] as number;
  const k = coordinates.length;
  const coordinate = (i: number): number => coordinates[i] as number;
  if (mode === "entries")
    return Float32Array.from(coordinates, (flat) => at(Math.floor(flat / inFeatures), flat % inFeatures));
  const slice = new Float32Array(k * (mode === "row" ? inFeatures : outFeatures));
  return mode === "row"
    ? slice.map((_, n) => at(coordinate(Math.floor(n / inFeatures)), n % inFeatures))
    : slice.map((_, n) => at(Math.floor(n / k), coordinate(n % k)));
}

/** D of a layer in host memory, in torch's orientation, whichever parameterisation it learns in; undefined where only biases do. */
export function learnedChange({ delta, slice, start }: Named<HostTensor>): HostTensor | undefined {
  if (slice === undefined || start === undefined) return delta;
  return float32(
    Float32Array.from(slice.data, (value, i) => value - (start.data[i] as number)),
    slice.shape,
  );
}
