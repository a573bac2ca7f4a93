import { PeftError } from "../errors.ts";
import type { BaseModel } from "../model/model.ts";
import { layerParameters } from "../model/site.ts";
import { didYouMean } from "../nearMisses.ts";
import type { HostTensor, Named, StoredTensor } from "../tensors.ts";
import { valuesOf, type AdaptedLayer, type Adapter, type Override } from "./adapter.ts";
import { requireCompatible, requireOwnTables } from "./conflicts.ts";
import { tiedNames } from "./tied.ts";
import { tokenRowsName } from "./tokens.ts";

/** An adapter on one layer, with the keys of its parameters among the tensors of a program. */
export interface AttachedLayer {
  readonly adapter: Adapter;
  readonly layer: AdaptedLayer;
  /** Short name → key. */
  readonly keys: ReadonlyMap<string, string>;
}

/** Rows that stand in a table for its own: keys of their values [m, d] and of their places int32 [V]. */
interface AttachedRows {
  readonly rows: string;
  readonly places: string;
}

/** Where a trainable value lives. */
interface Slot {
  read(): HostTensor;
  write(tensor: HostTensor): void;
}

/** Everything that follows from which adapters are active, merged and trainable. */
export interface View {
  readonly structure: string;
  readonly active: readonly Adapter[];
  /** Name of a base parameter → key of the tensor that stands for it now. */
  readonly keys: ReadonlyMap<string, string>;
  readonly frozen: Readonly<Record<string, StoredTensor>>;
  readonly slots: ReadonlyMap<string, Slot>;
  /** Layer path → adapters on it, innermost first. */
  readonly layers: ReadonlyMap<string, readonly AttachedLayer[]>;
  /** Name of a merged weight that an attached layer asks for as it was → key of that tensor. */
  readonly unmerged: ReadonlyMap<string, string>;
  /** Name of a table → trained rows in it; of two for one token, the later one counts. */
  readonly tokens: ReadonlyMap<string, readonly AttachedRows[]>;
  /** In a mixed state, what each active adapter alone comes to; the rest of the view is the base model. Null otherwise. */
  readonly mixed: readonly View[] | null;
}

export interface ViewState {
  readonly base: BaseModel;
  /** In the order in which their changes are applied. */
  readonly active: readonly Adapter[];
  /** Names of the active adapters that learn. */
  readonly trainable: ReadonlySet<string>;
  /** Names of adapters whose layers are folded into `mergedWeights`. */
  readonly merged: ReadonlySet<string>;
  readonly mergedWeights: ReadonlyMap<string, StoredTensor>;
}

/**
 * Resolves every base parameter to one tensor and sorts tensors into frozen and trainable. Keys: a base parameter's own name;
 * `<adapter>.<name>` for an adapter's parameters and private values. Of several active adapters that save the same module, the
 * last one's copy is used.
 * @throws PeftError `ADAPTER_CONFLICT` when two active adapters train or replace the same base parameter, or their method allows one.
 */
export function buildView(state: ViewState): View {
  const { base, active } = state;
  requireCompatible(active);
  requireOwnTables(active);
  const owners = overrideOwners(active);
  const keys = new Map<string, string>();
  const frozen: Record<string, StoredTensor> = {};
  const slots = new Map<string, Slot>();
  for (const [name, tensor] of base.parameters) {
    const key = resolveKey(state, owners.get(name), name);
    keys.set(name, key);
    if (slots.has(key) || key in frozen) continue;
    const owner = owners.get(name);
    const mergedWeight = state.mergedWeights.get(name);
    if (mergedWeight !== undefined) frozen[key] = mergedWeight;
    else if (owner === undefined) frozen[key] = tensor;
    else if (learns(state, owner) && owner.overrides.get(name)?.kind !== "replaced")
      slots.set(key, overrideSlot(base, owner, name));
    else frozen[key] = (owner.overrides.get(name) as Override).tensor;
  }
  const layers = attachLayers(state, frozen, slots);
  const tokens = attachRows(state, frozen, slots);
  const unmerged = addUnmerged(state, layers, frozen);
  return { structure: describe(state), active, keys, frozen, slots, layers, unmerged, tokens, mixed: null };
}

/** Every active adapter on its own, side by side: the batch says which of them computes a row. Nothing learns. */
export function buildMixedView(state: ViewState): View {
  const alone = (active: readonly Adapter[]): View => buildView({ ...state, active, trainable: new Set() });
  const base = alone([]);
  const mixed = state.active.map((adapter) => alone([adapter]));
  return {
    ...base,
    structure: `mixed ${mixed.map(({ structure }) => structure).join("|")}`,
    active: state.active,
    frozen: Object.assign({}, ...[base, ...mixed].map(({ frozen }) => frozen)) as View["frozen"],
    mixed,
  };
}

/** Methods that measure a layer's weight measure its own one, whatever else is merged into it. */
function addUnmerged(
  state: ViewState,
  layers: ReadonlyMap<string, readonly AttachedLayer[]>,
  frozen: Record<string, StoredTensor>,
): Map<string, string> {
  const names = [...layers.values()].flatMap(([first]) =>
    first === undefined ? [] : layerParameters(first.layer.site),
  );
  const merged = names.filter((name) => state.mergedWeights.has(name));
  for (const name of merged) frozen[unmergedKey(name)] = ownValue(state, name);
  return new Map(merged.map((name) => [name, unmergedKey(name)]));
}

/** No adapter's name holds a colon. */
function unmergedKey(name: string): string {
  return `unmerged:${name}`;
}

/** What a base parameter is without what was merged: the last active adapter's own value, or the model's. */
export function ownValue({ base, active }: Pick<ViewState, "base" | "active">, name: string): StoredTensor {
  const owner = active.findLast((adapter) => adapter.overrides.has(name));
  return owner?.overrides.get(name)?.tensor ?? (base.parameters.get(name) as StoredTensor);
}

/** The base model alone. */
export function bareView(base: BaseModel): View {
  return buildView({ base, active: [], trainable: new Set(), merged: new Set(), mergedWeights: new Map() });
}

function resolveKey(state: ViewState, owner: Adapter | undefined, name: string): string {
  if (state.mergedWeights.has(name)) return name;
  const canonical = tiedNames(state.base, name).find((tied) => sharesTensor(state, owner, { tied, name })) ?? name;
  return owner === undefined ? canonical : `${owner.name}.${canonical}`;
}

/** Whether two tied names still mean the same tensor: replacing or merging the weight of one layer unties it. */
function sharesTensor(
  state: ViewState,
  owner: Adapter | undefined,
  { tied, name }: { readonly tied: string; readonly name: string },
): boolean {
  if (state.mergedWeights.has(tied)) return false;
  const values = state.active.filter((adapter) => adapter.overrides.has(tied));
  if (owner === undefined) return values.length === 0;
  return owner.overrides.get(tied)?.tensor === owner.overrides.get(name)?.tensor;
}

/** The adapter whose private value stands for each overridden base parameter. */
function overrideOwners(active: readonly Adapter[]): Map<string, Adapter> {
  const owners = new Map<string, Adapter>();
  for (const adapter of active) {
    for (const [name, override] of adapter.overrides) {
      const other = owners.get(name);
      if (other !== undefined && override.kind !== "saved" && other.overrides.get(name)?.kind !== "saved") {
        throw new PeftError(
          "ADAPTER_CONFLICT",
          `The adapters "${other.name}" and "${adapter.name}" both change the base parameter "${name}", so they cannot be active together. ` +
            `Activate one of them, or merge the first into the base model.`,
        );
      }
      owners.set(name, adapter);
    }
  }
  return owners;
}

function learns(state: ViewState, adapter: Adapter): boolean {
  return state.trainable.has(adapter.name) && !state.merged.has(adapter.name);
}

function overrideSlot(base: BaseModel, adapter: Adapter, name: string): Slot {
  const read = (): HostTensor => (adapter.overrides.get(name) as { tensor: HostTensor }).tensor;
  const write = (tensor: HostTensor): void => {
    const { kind } = adapter.overrides.get(name) as { kind: "saved" | "trained" };
    for (const tied of tiedNames(base, name)) adapter.overrides.set(tied, { kind, tensor });
  };
  return { read, write };
}

function attachLayers(
  state: ViewState,
  frozen: Record<string, StoredTensor>,
  slots: Map<string, Slot>,
): Map<string, AttachedLayer[]> {
  const layers = new Map<string, AttachedLayer[]>();
  for (const adapter of state.active) {
    if (state.merged.has(adapter.name)) continue;
    for (const layer of adapter.layers) {
      const keys = new Map<string, string>();
      for (const short of layer.names) {
        const local = `${layer.site.path}.${short}`;
        const key = `${adapter.name}.${local}`;
        if (slots.has(key) || key in frozen) throw collision(adapter, local);
        keys.set(short, key);
        if (learns(state, adapter) && adapter.params.has(local)) slots.set(key, parameterSlot(adapter, local));
        else frozen[key] = valuesOf(adapter, local).get(local) as HostTensor;
      }
      const { virtualTokens, forward } = adapter.method;
      if ((layer.site.kind === "prompt" ? virtualTokens : forward) === undefined) continue;
      layers.set(layer.site.path, [...(layers.get(layer.site.path) ?? []), { adapter, layer, keys }]);
    }
  }
  return layers;
}

function parameterSlot({ params }: Adapter, local: string): Slot {
  return {
    read: () => params.get(local) as HostTensor,
    write: (tensor) => void params.set(local, tensor),
  };
}

function attachRows(
  state: ViewState,
  frozen: Record<string, StoredTensor>,
  slots: Map<string, Slot>,
): Map<string, AttachedRows[]> {
  const tables = new Map<string, AttachedRows[]>();
  for (const adapter of state.active) {
    if (state.merged.has(adapter.name)) continue;
    for (const rows of adapter.tokens) {
      const local = tokenRowsName(rows);
      const keys = { rows: `${adapter.name}.${local}`, places: `${adapter.name}.${rows.path}.tokenPlaces` };
      frozen[keys.places] = rows.places;
      if (learns(state, adapter)) slots.set(keys.rows, parameterSlot(adapter, local));
      else frozen[keys.rows] = adapter.params.get(local) as HostTensor;
      for (const table of rows.tables) tables.set(table, [...(tables.get(table) ?? []), keys]);
    }
  }
  return tables;
}

function collision(adapter: Adapter, local: string): PeftError {
  return new PeftError(
    "METHOD_INVALID",
    `Method "${adapter.method.name}" names a parameter "${local}", which is also a base parameter it changes. Give it another short name.`,
  );
}

/** Equal for equal states, so that a program compiled earlier is found again when an adapter is switched back on. */
function describe(state: ViewState): string {
  if (state.active.length === 0) return "base";
  return state.active
    .map(({ id, name }) => `${name}#${id}${state.merged.has(name) ? "m" : state.trainable.has(name) ? "t" : ""}`)
    .join("+");
}

/** Stores values under the keys of a view's slots. */
export function writeSlots({ slots }: View, values: Named<HostTensor>): void {
  for (const [key, value] of Object.entries(values)) {
    const slot = slots.get(key);
    if (slot === undefined) {
      throw new PeftError(
        "PARAMETER_UNKNOWN",
        `"${key}" is no trainable parameter of the current structure.${didYouMean(key, slots.keys())}`,
      );
    }
    const { shape } = slot.read();
    if (shape.join() !== value.shape.join()) {
      throw new PeftError(
        "SHAPE_MISMATCH",
        `"${key}" has shape [${shape.join(", ")}], got [${value.shape.join(", ")}].`,
      );
    }
    slot.write(value);
  }
}
