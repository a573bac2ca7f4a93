import { onHost, toHost, toTensor } from "@peftjs/core/internal";
import type { FileContext, FileForm, HostTensor, Named } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { VirtualTokenConfig } from "./config.ts";

/**
 * What a file holds, as in the Python library: the config with the model's sizes, and the table that virtual tokens are read from. Of an
 * encoder only its result is kept, so that a loaded adapter computes the same but goes on learning as a table.
 */
export function tableFile<Config extends VirtualTokenConfig>(
  { config, sites }: FileContext<Config>,
  table: (params: Named<tf.Tensor>) => tf.Tensor2D,
): FileForm<Config> {
  const rows = (params: Named<HostTensor>): HostTensor =>
    params["table"] ??
    onHost(() =>
      toHost(table(Object.fromEntries(Object.entries(params).map(([name, value]) => [name, toTensor(value)])))),
    );
  return {
    config: sites[0]?.config ?? config,
    params: new Map(sites.map(({ site, params }) => [site.path, { table: rows(params) }])),
  };
}
