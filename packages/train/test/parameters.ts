import type { LayerSite, SiteRole, TrainableParameter } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";

export interface Described {
  readonly shape?: readonly number[];
  readonly site?: Partial<LayerSite>;
}

/** What a method has on a layer, e.g. `onLayer("layers.0.q_proj", "a")`; `base` makes it the layer's own weight or bias. */
export function onLayer(
  path: string,
  name: string,
  { role, shape = [8, 4], site, base = false }: Described & { readonly role?: SiteRole; readonly base?: boolean } = {},
): TrainableParameter {
  const local = `${path}.${name}`;
  return {
    ...{ key: `default.${local}`, shape, adapter: "default", head: false, afterBlocks: false, block: 0 },
    ...{ name: base ? null : name, base: base ? local : null },
    site: linearSite({
      path,
      inFeatures: 4,
      outFeatures: 8,
      bias: `${path}.bias`,
      role: role ?? roleOf(path),
      ...site,
    }),
  };
}

/** A parameter of the head, or of a norm, that is trained as it is. */
export function ofModel(local: string, { shape = [8, 4], head = false } = {}): TrainableParameter {
  return {
    ...{ key: `default.${local}`, shape, adapter: "default", name: null, base: local, head, site: null },
    ...{ block: head ? null : 0, afterBlocks: head },
  };
}

const roles: Readonly<Record<string, SiteRole>> = {
  ...{ query: "query", q_proj: "query", q_lin: "query", q: "query" },
  ...{ key: "key", k_proj: "key", k_lin: "key", k: "key" },
  ...{ value: "value", v_proj: "value", v_lin: "value", v: "value" },
};

function roleOf(path: string): SiteRole {
  return roles[path.slice(path.lastIndexOf(".") + 1)] ?? "ffnUp";
}
