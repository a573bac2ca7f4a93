import type { Adapter } from "../adapter/adapter.ts";
import type { View } from "../adapter/view.ts";
import { blockOf, type BlockPaths } from "../model/blocks.ts";
import type { BaseModel } from "../model/model.ts";
import { layerParameters, type LayerSite } from "../model/site.ts";
import type { TrainableParameter } from "./plugin.ts";

/** What is known of everything that learns, in the order of `PeftModel.trainable()`. */
export function trainableParameters(
  base: BaseModel,
  { adapters, view, paths }: { readonly adapters: readonly Adapter[]; readonly view: View; readonly paths: BlockPaths },
): TrainableParameter[] {
  // Of layers that share a weight the first one counts: the gradient has to reach it.
  const owners = new Map(
    base.sites.toReversed().flatMap((site) => layerParameters(site).map((name) => [name, site] as const)),
  );
  const lastOfBlocks = base.sites.findLastIndex(({ block }) => block !== null);
  const after = new Set(base.sites.slice(lastOfBlocks + 1));
  return [...view.slots].map(([key, slot]) => {
    const adapter = adapters.find(({ name }) => key.startsWith(`${name}.`)) as Adapter;
    const local = key.slice(adapter.name.length + 1);
    const own = ownParameter(adapter, local);
    const site = own?.site ?? owners.get(local) ?? null;
    const head = base.headModules.some((module) => local === module || local.startsWith(`${module}.`));
    return {
      ...{ key, site, shape: slot.read().shape, adapter: adapter.name },
      name: own?.name ?? null,
      base: own === null && adapter.overrides.has(local) ? local : null,
      head,
      afterBlocks: head || (site !== null && after.has(site)),
      block: site === null ? blockOf(paths, local) : site.block,
    };
  });
}

function ownParameter(
  { layers, params }: Adapter,
  local: string,
): { readonly site: LayerSite; readonly name: string } | null {
  if (!params.has(local)) return null;
  for (const { site, names } of layers) {
    const name = names.find((short) => `${site.path}.${short}` === local);
    if (name !== undefined) return { site, name };
  }
  return null;
}
