import { isDeepStrictEqual } from "node:util";
import { PeftError } from "../errors.ts";
import { areAlike } from "../method/alike.ts";
import type { BaseModel } from "../model/model.ts";
import type { PeftModel } from "../peftModel.ts";
import { targetFields } from "../targeting.ts";
import type { HostTensor, Named, StoredTensor } from "../tensors.ts";
import {
  layerTensors,
  parameterOf,
  privateCopy,
  valuesOf,
  type AdaptedLayer,
  type Adapter,
  type Override,
} from "./adapter.ts";
import { findAdapter } from "./names.ts";
import { readAdapter, type ReadAdapterOptions } from "./read.ts";
import { initialTokenRows, tokenRowsName, type TokenRows } from "./tokens.ts";

export interface HotSwapOptions extends ReadAdapterOptions {
  /** The attached adapter whose values are replaced. Default "default". */
  readonly adapterName?: string;
}

/**
 * Gives an attached adapter the values of an adapter folder. `model.structure` stays, so programs compiled for it go on working, and
 * the adapter keeps its config: values of another rank or scale are expressed under it where the method can (`refit`), else the two
 * configs must agree. Layers that the file leaves alone become zero, saved modules that it lacks become the base model's. The state
 * of a training run is left alone. When anything is wrong the adapter stays as it was.
 * @throws PeftError as `loadAdapter`; `ADAPTER_UNKNOWN`, `ADAPTER_MERGED`, `HOT_SWAP_UNSUPPORTED` (a method that refits otherwise, more layers or
 * modules than the adapter has, configs or shapes that do not agree).
 */
export async function hotSwapAdapter(
  model: PeftModel,
  { adapterName = "default", ...options }: HotSwapOptions,
): Promise<Adapter> {
  const adapter = findAdapter(model.adapters, adapterName);
  if (model.merged.includes(adapterName)) {
    throw new PeftError(
      "ADAPTER_MERGED",
      `The adapter "${adapterName}" is merged and cannot be swapped. Call unmerge() first.`,
    );
  }
  const { adapter: given } = await readAdapter(model.base, { ...options, adapterName, strict: true });
  requireFewer(adapter, given);
  const values = [
    ...adapter.layers.flatMap((layer) => layerValues(adapter, layer, given)),
    ...adapter.tokens.map((rows) => rowValues(model.base, { adapter, rows, given })),
  ];
  const overrides = overrideValues(model.base, adapter, given);
  for (const [local, tensor] of values) valuesOf(adapter, local).set(local, tensor);
  for (const [name, override] of overrides) adapter.overrides.set(name, override);
  model.refresh();
  return adapter;
}

/** The file may leave out what the adapter has, but not add to it: that would be another structure. */
function requireFewer(adapter: Adapter, given: Adapter): void {
  if (!areAlike(adapter.method, given.method, "refit"))
    throw unsupported(adapter, `the file is of method "${given.method.name}", the adapter of "${adapter.method.name}"`);
  const layers = new Set(adapter.layers.map(({ site }) => site.path));
  const more = given.layers.find(({ site }) => !layers.has(site.path))?.site.path;
  if (more !== undefined) throw unsupported(adapter, `the file also adapts the layer "${more}"`);
  const table = given.tokens.find(({ path }) => !adapter.tokens.some((rows) => rows.path === path))?.path;
  if (table !== undefined) throw unsupported(adapter, `the file also has token rows of "${table}"`);
  const parameter = [...given.overrides.keys()].find((name) => !adapter.overrides.has(name));
  if (parameter !== undefined) throw unsupported(adapter, `the file also changes the base parameter "${parameter}"`);
}

/** New values of a layer under the adapter's config, by local name. */
function layerValues(adapter: Adapter, layer: AdaptedLayer, given: Adapter): [string, HostTensor][] {
  const { site } = layer;
  const other = given.layers.find((candidate) => candidate.site.path === site.path);
  const present = layerTensors(adapter, layer);
  const params = other === undefined ? null : layerTensors(given, other);
  const shapes = Object.fromEntries(Object.entries(present).map(([short, { shape }]) => [short, shape]));
  const fitted =
    adapter.method.refit?.({ site, params, from: other?.config ?? given.config, to: layer.config, shapes }) ??
    asTheyAre(adapter, { layer, other, params });
  return layer.names.map((short) => {
    const tensor = fitted[short];
    const [expected, got] = [shapes[short], tensor?.shape].map((shape) =>
      shape === undefined ? "none" : `[${shape.join(", ")}]`,
    );
    if (tensor === undefined || expected !== got)
      throw unsupported(adapter, `"${site.path}.${short}" would get a tensor of shape ${got}, and needs ${expected}`);
    return [`${site.path}.${short}`, tensor];
  });
}

function asTheyAre(
  adapter: Adapter,
  {
    layer: { site, config },
    other,
    params,
  }: {
    readonly layer: AdaptedLayer;
    readonly other: AdaptedLayer | undefined;
    readonly params: Named<HostTensor> | null;
  },
): Named<HostTensor> {
  if (other === undefined || params === null) {
    throw unsupported(
      adapter,
      `the file leaves out the layer "${site.path}", and method "${adapter.method.name}" does not say what an idle one is`,
    );
  }
  if (!isDeepStrictEqual(untargeted(other.config), untargeted(config)))
    throw unsupported(
      adapter,
      `the file's config for "${site.path}" is ${JSON.stringify(untargeted(other.config))}, the adapter's is ${JSON.stringify(untargeted(config))}`,
    );
  return params;
}

/** A config without what says where it applies. */
function untargeted(config: object): object {
  return Object.fromEntries(Object.entries(config).filter(([field]) => !(field in targetFields)));
}

/** New values of token rows: the file's, or the table's own. */
function rowValues(
  base: BaseModel,
  { adapter, rows, given }: { readonly adapter: Adapter; readonly rows: TokenRows; readonly given: Adapter },
): [string, HostTensor] {
  const local = tokenRowsName(rows);
  const other = given.tokens.find(({ path }) => path === rows.path);
  if (other === undefined) return [local, initialTokenRows(base, rows)];
  if (isDeepStrictEqual(other.ids, rows.ids)) return [local, given.params.get(local) as HostTensor];
  throw unsupported(
    adapter,
    `the file's token rows of "${rows.path}" are ${other.ids.join(", ")}, the adapter's are ${rows.ids.join(", ")}`,
  );
}

/** What the adapter's private base parameters become; tied ones go on sharing a tensor. */
function overrideValues(base: BaseModel, adapter: Adapter, given: Adapter): [string, Override][] {
  const copies = new Map<StoredTensor, HostTensor>();
  const copyOf = (stored: StoredTensor): HostTensor => {
    const copy = copies.get(stored) ?? privateCopy(stored);
    copies.set(stored, copy);
    return copy;
  };
  return [...adapter.overrides].map(([name, { kind }]) => {
    const stored = given.overrides.get(name)?.tensor ?? parameterOf(base, name);
    return [name, kind === "replaced" ? { kind, tensor: stored } : { kind, tensor: copyOf(stored) }];
  });
}

function unsupported({ name }: Adapter, reason: string): PeftError {
  return new PeftError(
    "HOT_SWAP_UNSUPPORTED",
    `The adapter "${name}" cannot take these values in place: ${reason}. Attach the file as an adapter of its own with loadAdapter.`,
  );
}
