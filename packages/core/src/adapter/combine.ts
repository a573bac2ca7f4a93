import { isDeepStrictEqual } from "node:util";
import { shortestSuffixes } from "../checkpoint/adapterConfig.ts";
import { PeftError } from "../errors.ts";
import { areAlike } from "../method/alike.ts";
import type { CombineOptions, FileForm, Method } from "../method/method.ts";
import type { BaseModel } from "../model/model.ts";
import type { PeftModel } from "../peftModel.ts";
import { isInModules, type TargetConfig } from "../targeting.ts";
import { cloneTensor, type HostTensor } from "../tensors.ts";
import { createAdapter, hostSite, type Adapter } from "./adapter.ts";
import { checkNewName, findAdapter } from "./names.ts";
import { tokenRowsName, type TokenRows } from "./tokens.ts";

/** How to combine, and settings of the method's own. */
export interface CombineAdaptersOptions extends CombineOptions {
  /** Names of attached adapters, of one method or of methods that combine alike. */
  readonly adapters: readonly string[];
  /** One per adapter. */
  readonly weights: readonly number[];
  /** Of the new adapter. */
  readonly name: string;
  /** The one of `adapters` whose saved modules the new one gets. Needed where they differ. */
  readonly modulesFrom?: string;
}

/**
 * Attaches a new adapter made of several ones; it does not become active. Which types of combination there are, their settings, and
 * of which method the result is, the first one's method says (its own unless it names another). Saved modules are no sum: they are
 * taken over where the adapters agree, or from `modulesFrom`.
 * @throws PeftError `ADAPTER_UNKNOWN`, `ADAPTER_EXISTS`, `ADAPTER_NAME_INVALID`, `CONFIG_INVALID`, `COMBINE_UNSUPPORTED` (methods that
 * do not combine alike, or one that cannot), `COMBINE_CONFLICT` (saved modules that differ).
 */
export async function combineAdapters(
  model: PeftModel,
  { adapters: names, weights, name, modulesFrom, ...options }: CombineAdaptersOptions,
): Promise<Adapter> {
  checkNewName(model.adapters, name);
  const adapters = names.map((each) => findAdapter(model.adapters, each));
  checkWeights(names, weights);
  const { base } = model;
  const { method, combine } = combiner(adapters);
  const form = combine({
    adapters: adapters.map(({ config }, i) => ({ config, weight: weights[i] as number })),
    sites: base.sites.flatMap((site) => {
      const parts = adapters.map((adapter) => {
        const layer = adapter.layers.find((each) => each.site.path === site.path);
        return layer === undefined ? null : hostSite(adapter, layer);
      });
      return parts.every((part) => part === null) ? [] : [{ site, parts }];
    }),
    options,
  });
  const sources = modulesFrom === undefined ? adapters : [sourceOf(adapters, modulesFrom)];
  const own = agreedValues(sources);
  const config = combinedConfig(base, form, { sources, own });
  const adapter = await createAdapter(base, { name, method: form.method ?? method, config, filled: "all" });
  fillLayers(adapter, form);
  for (const [local, { kind, tensor }] of own) {
    if (kind === "tokens") adapter.params.set(local, tensor);
    else adapter.overrides.set(local, { kind, tensor });
  }
  model.insert(adapter);
  return adapter;
}

function checkWeights(names: readonly string[], weights: readonly number[]): void {
  if (names.length > 0 && names.length === weights.length && weights.every(Number.isFinite)) return;
  throw new PeftError(
    "CONFIG_INVALID",
    `combineAdapters needs adapters and one finite weight for each, got ${JSON.stringify(names)} with weights ${JSON.stringify(weights)}.`,
  );
}

function combiner([first, ...others]: readonly Adapter[]): {
  readonly method: Method;
  readonly combine: NonNullable<Method["combine"]>;
} {
  const { method, name } = first as Adapter;
  const other = others.find((adapter) => !areAlike(method, adapter.method, "combine"));
  if (other !== undefined) {
    throw new PeftError(
      "COMBINE_UNSUPPORTED",
      `The adapter "${name}" is of method "${method.name}" and "${other.name}" of "${other.method.name}". Only adapters of methods that combine alike go together; ` +
        `setActive(["${name}", "${other.name}"]) applies both.`,
    );
  }
  if (method.combine === undefined) {
    throw new PeftError(
      "COMBINE_UNSUPPORTED",
      `Method "${method.name}" does not combine adapters. setActive applies several at once where the method allows it.`,
    );
  }
  return { method, combine: (context) => (method.combine as NonNullable<Method["combine"]>)(context) };
}

function sourceOf(adapters: readonly Adapter[], name: string): Adapter {
  const source = adapters.find((adapter) => adapter.name === name);
  if (source !== undefined) return source;
  throw new PeftError(
    "CONFIG_INVALID",
    `modulesFrom names "${name}", which is not combined. It is one of: ${adapters.map((adapter) => adapter.name).join(", ")}.`,
  );
}

/** A value of an adapter that is no sum: a base parameter that it trains in full, or rows of a table. */
interface OwnValue {
  readonly kind: "saved" | "trained" | "tokens";
  readonly tensor: HostTensor;
  /** Of token rows. */
  readonly rows: TokenRows | null;
}

function ownValues({ overrides, tokens, params }: Adapter): [string, OwnValue][] {
  return [
    ...[...overrides].flatMap(([name, { kind, tensor }]): [string, OwnValue][] =>
      kind === "replaced" ? [] : [[name, { kind, tensor, rows: null }]],
    ),
    ...tokens.map((rows): [string, OwnValue] => {
      const local = tokenRowsName(rows);
      return [local, { kind: "tokens", tensor: params.get(local) as HostTensor, rows }];
    }),
  ];
}

/** What the adapters have of their own, with new memory; tied parameters share it. */
function agreedValues(adapters: readonly Adapter[]): Map<string, OwnValue> {
  const agreed = new Map<string, OwnValue>();
  const copies = new Map<HostTensor, HostTensor>();
  for (const [name, own] of adapters.flatMap(ownValues)) {
    const present = agreed.get(name);
    if (present === undefined) {
      const copy = copies.get(own.tensor) ?? cloneTensor(own.tensor);
      copies.set(own.tensor, copy);
      agreed.set(name, { ...own, tensor: copy });
    } else if (!isDeepStrictEqual([present.tensor, present.rows?.ids], [own.tensor, own.rows?.ids])) {
      const names = adapters.filter((adapter) => ownValues(adapter).some(([other]) => other === name));
      throw new PeftError(
        "COMBINE_CONFLICT",
        `The adapters ${names.map((adapter) => `"${adapter.name}"`).join(" and ")} have different values of "${name}", which they train in full. ` +
          `Say whose the new adapter gets: modulesFrom: "${names[0]?.name as string}".`,
      );
    }
  }
  return agreed;
}

/** The method's config for what is combined: its own fields for this, where it has them, may say something else of each adapter. */
function combinedConfig(
  base: BaseModel,
  { config, params }: FileForm<object>,
  { sources, own }: { readonly sources: readonly Adapter[]; readonly own: ReadonlyMap<string, OwnValue> },
): object {
  const modules = [...new Set(sources.flatMap(({ modulesToSave }) => modulesToSave))];
  const others = base.sites.map(({ path }) => path).filter((path) => !params.has(path) && !isInModules(path, modules));
  const rows = [...own.values()].flatMap(({ rows: table }) => (table === null ? [] : [[table.path, table.ids]]));
  const fields: TargetConfig & Record<string, unknown> = {
    targetModules: shortestSuffixes([...params.keys()], others),
    ...{ targetRoles: null, excludeModules: null, layersToTransform: null, layersPattern: null },
    modulesToSave: modules,
    trainableTokenIndices: rows.length === 0 ? null : (Object.fromEntries(rows) as unknown),
  };
  return { ...config, ...Object.fromEntries(Object.entries(fields).filter(([field]) => field in config)) };
}

function fillLayers(adapter: Adapter, { params }: FileForm<object>): void {
  for (const { site, names } of adapter.layers) {
    for (const short of names) {
      const local = `${site.path}.${short}`;
      const tensor = params.get(site.path)?.[short];
      const values = adapter.params.has(local) ? adapter.params : adapter.buffers;
      if (tensor === undefined && values === adapter.buffers) continue;
      const expected = (values.get(local) as HostTensor).shape.join(", ");
      const got = tensor?.shape.join(", ");
      if (tensor === undefined || got !== expected) {
        throw new PeftError(
          "METHOD_INVALID",
          `combine of method "${adapter.method.name}" gives "${local}" ${got === undefined ? "no value" : `the shape [${got}]`}, ` +
            `but under the config that it gives the shape is [${expected}].`,
        );
      }
      values.set(local, tensor);
    }
  }
}
