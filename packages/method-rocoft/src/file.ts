import { float32 } from "@peftjs/core";
import type { FileContext, FileForm, HostTensor, Named, RestoreContext } from "@peftjs/core";
import type { RocoftConfig } from "./config.ts";
import { coordinatesOf, requireCoordinates } from "./select/indices.ts";
import { learnedChange, sliceOf } from "./slice.ts";

/** A file holds the change itself, in torch's orientation, whichever parameterisation learned it. */
export function rocoftFile({ config, sites }: FileContext<RocoftConfig>): FileForm<RocoftConfig> {
  const params = sites.map(({ site, params: held }) => {
    const { delta: _, slice: __, start: ___, ...others } = held;
    const change = learnedChange(held);
    return [site.path, change === undefined ? others : { delta: change, ...others }] as const;
  });
  return { config, params: new Map(params) };
}

/**
 * The values that learn, where they are not the change itself: W₀'s own and the change.
 * @throws PeftError `ADAPTER_TENSORS` for coordinates that the layer lacks.
 */
export function restoreRocoft(context: RestoreContext<RocoftConfig>): Named<HostTensor> {
  const { site, config, params } = context;
  const { indices, slice } = params;
  if (indices === undefined) return {};
  const { mode } = config;
  const coordinates = coordinatesOf(indices, { mode, inFeatures: site.inFeatures });
  requireCoordinates(coordinates, { site, config });
  if (slice === undefined) return {};
  const start = float32(sliceOf(context.weight.data, coordinates, { site, mode }), slice.shape);
  const changed = Float32Array.from(start.data, (value, i) => value + (slice.data[i] as number));
  return { start, slice: float32(changed, slice.shape) };
}
