import { parameterOf, valuesOf, type Adapter, type Override } from "../adapter/adapter.ts";
import { tiedNames } from "../adapter/tied.ts";
import { tokenRowsName } from "../adapter/tokens.ts";
import { PeftError } from "../errors.ts";
import type { FileForm } from "../method/method.ts";
import type { BaseModel } from "../model/model.ts";
import { layerParameters, PROMPT, type LayerSite } from "../model/site.ts";
import type { HostTensor, StoredTensor } from "../tensors.ts";

/** What the Python library puts before every module path. */
const KEY_PREFIX = "base_model.model.";

/** The same in files of virtual tokens: Python does not wrap the model for them. */
const UNWRAPPED_PREFIX = "base_model.";

/** What stands before every module path in the adapter's file. */
export function keyPrefix({ layers }: Pick<Adapter, "layers">): string {
  return layers.some(({ site }) => site.path === PROMPT) ? UNWRAPPED_PREFIX : KEY_PREFIX;
}

/** A tensor of an adapter with its name in the file. */
export interface FileTensor {
  readonly key: string;
  /** The layer of the adapter that it belongs to; null for a parameter of the base model. */
  readonly site: LayerSite | null;
  read(): StoredTensor;
  write(tensor: HostTensor): void;
}

/**
 * The tensors an adapter's file holds: parameters and buffers as `<prefix><layer path>.<wire suffix>`, saved modules and trained base
 * parameters under their own names, those of an adapted layer as `<layer path>.base_layer.<name>`. Tied parameters are written once.
 * Virtual tokens belong to no layer: their key is the suffix alone.
 */
export function fileTensors(base: BaseModel, adapter: Adapter): FileTensor[] {
  return [...layerTensors(adapter), ...tokenTensors(adapter), ...overrideTensors(base, adapter)];
}

/** What a method makes of its layers for a file, and whether the tables of adapted embeddings go into it. */
export interface FormTensorsOptions extends FileForm<object> {
  readonly saveEmbeddingLayers: boolean | "auto";
}

/** The tensors of a file whose layers hold what the method made of them. */
export function formTensors(
  base: BaseModel,
  adapter: Adapter,
  { params, saveEmbeddingLayers }: FormTensorsOptions,
): Map<string, StoredTensor> {
  const layers = [...params].flatMap(([path, tensors]) =>
    Object.entries(tensors).flatMap(([short, tensor]): [string, StoredTensor][] => {
      const key = layerKey(adapter, path, short);
      return key === null ? [] : [[key, tensor]];
    }),
  );
  return new Map([
    ...layers,
    ...[...tokenTensors(adapter), ...overrideTensors(base, adapter)].map(({ key, read }) => [key, read()] as const),
    ...tables(base, adapter, saveEmbeddingLayers),
  ]);
}

/** Layers whose tables the Python library saves beside an adapter on them. */
const WITH_TABLE = /(^|\.)(embed_tokens|lm_head)$/u;

function tables(base: BaseModel, adapter: Adapter, save: boolean | "auto"): [string, StoredTensor][] {
  return adapter.layers.flatMap(({ site }): [string, StoredTensor][] => {
    const changed = adapter.overrides.get(site.weight)?.tensor;
    const isTable = site.kind === "embedding" || WITH_TABLE.test(site.path);
    const wanted = save === "auto" ? WITH_TABLE.test(site.path) || changed !== undefined : save;
    if (!isTable || !wanted) return [];
    return [[`${keyPrefix(adapter)}${site.path}.base_layer.weight`, changed ?? parameterOf(base, site.weight)]];
  });
}

/** Trained rows of embeddings; they replace the table's own, whatever the name says. */
function tokenTensors(adapter: Adapter): FileTensor[] {
  const { tokens, params } = adapter;
  return tokens.map((rows) => {
    const local = tokenRowsName(rows);
    return {
      key: `${keyPrefix(adapter)}${rows.path}.token_adapter.trainable_tokens_delta`,
      site: null,
      read: () => params.get(local) as HostTensor,
      write: (tensor) => void params.set(local, tensor),
    };
  });
}

function layerTensors(adapter: Adapter): FileTensor[] {
  return adapter.layers.flatMap(({ site, names }) =>
    names.flatMap((short): FileTensor[] => {
      const local = `${site.path}.${short}`;
      const values = valuesOf(adapter, local);
      const key = layerKey(adapter, site.path, short);
      if (key === null) return [];
      return [
        {
          ...{ key, site },
          read: () => values.get(local) as HostTensor,
          write: (tensor) => void values.set(local, tensor),
        },
      ];
    }),
  );
}

/** Null for a tensor that is not in the file. */
function layerKey(adapter: Adapter, path: string, short: string): string | null {
  const suffix = wireSuffix(adapter, short);
  if (suffix === null || path === PROMPT) return suffix;
  return `${keyPrefix(adapter)}${path}.${suffix}`;
}

function wireSuffix({ method }: Adapter, short: string): string | null {
  const suffix = method.wire.tensors[short];
  if (suffix !== undefined) return suffix;
  throw new PeftError(
    "METHOD_INVALID",
    `Method "${method.name}" has a parameter "${short}" but wire.tensors does not name it. Add it there.`,
  );
}

function overrideTensors(base: BaseModel, adapter: Adapter): FileTensor[] {
  const layerOf = new Map(
    adapter.layers.flatMap(({ site }) => layerParameters(site).map((name) => [name, site.path] as const)),
  );
  return [...adapter.overrides].flatMap(([name, { kind }]) => {
    if (kind === "replaced" || tiedNames(base, name)[0] !== name) return [];
    const path = layerOf.get(name);
    const key = path === undefined ? name : `${path}.base_layer${name.slice(path.length)}`;
    return [
      {
        ...{ key: `${keyPrefix(adapter)}${key}`, site: null },
        read: () => (adapter.overrides.get(name) as Override).tensor,
        write: (tensor: HostTensor) =>
          tiedNames(base, name).forEach((tied) => adapter.overrides.set(tied, { kind, tensor })),
      },
    ];
  });
}

export interface NormalizedNames {
  /** Expected key → name in the file. */
  readonly found: ReadonlyMap<string, string>;
  /** Names that fit no expected key; `key` is the name with what is known to vary taken out. */
  readonly unexpected: readonly { readonly name: string; readonly key: string }[];
  /** Expected keys that the file lacks. */
  readonly missing: readonly string[];
}

/**
 * Finds every expected key among the names of a file, as other writers spell them: without the prefix, with an adapter's name or
 * a wrapper's (`.default`, `.modules_to_save.default`) inside, with `.weight` behind a bare parameter. Copies of frozen originals
 * are passed over.
 */
export function matchNames(expected: readonly string[], names: readonly string[], prefix: string): NormalizedNames {
  const wanted = new Set(expected);
  const found = new Map<string, string>();
  const unexpected: { name: string; key: string }[] = [];
  const prefixed = names.some((name) => name.startsWith(prefix) || wanted.has(name));
  const spelledOut = new Set(names);
  for (const name of names) {
    if (/\.original_module\./u.test(name)) continue;
    // With every bias trained, Python writes those of saved modules a second time under the wrapper's name.
    if (name.includes(".modules_to_save.") && spelledOut.has(name.replace(/\.modules_to_save\.[^.]+\./u, ".")))
      continue;
    const key = (prefixed ? name : prefix + name).replace(/\.modules_to_save\.[^.]+\./u, ".");
    const spellings = [key, key.replace(/\.weight$/u, ""), ...withoutOneComponent(key)];
    const match = spellings.find((spelling) => wanted.has(spelling) && !found.has(spelling));
    if (match !== undefined) found.set(match, name);
    else unexpected.push({ name, key });
  }
  return { found, unexpected, missing: expected.filter((key) => !found.has(key)) };
}

/** The key without its last component, and without the one before it: where an adapter's name may stand. */
function withoutOneComponent(key: string): string[] {
  const parts = key.split(".");
  return [parts.slice(0, -1), [...parts.slice(0, -2), ...parts.slice(-1)]].map((kept) => kept.join("."));
}
