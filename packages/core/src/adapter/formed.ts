import { layoutField, shortestSuffixes } from "../checkpoint/adapterConfig.ts";
import { PeftError } from "../errors.ts";
import type { FileForm, Method } from "../method/method.ts";
import type { BaseModel } from "../model/model.ts";
import { isInModules, type TargetConfig } from "../targeting.ts";
import type { HostTensor } from "../tensors.ts";
import { createAdapter, valuesOf, type Adapter } from "./adapter.ts";
import { restoreLayers } from "./restore.ts";
import { tokenRowsName, type TokenRows } from "./tokens.ts";

/** A value of an adapter that is none of its layers': a base parameter that it trains in full, or rows of a table. */
export interface OwnValue {
  readonly kind: "saved" | "trained" | "tokens";
  readonly tensor: HostTensor;
  /** Of token rows. */
  readonly rows: TokenRows | null;
}

/** What an adapter has beside its layers, by name of the base parameter or of the rows. */
export function ownValues({ overrides, tokens, params }: Adapter): [string, OwnValue][] {
  return [
    ...[...overrides].flatMap(([name, override]): [string, OwnValue][] =>
      override.kind === "replaced" ? [] : [[name, { ...override, rows: null }]],
    ),
    ...tokens.map((rows): [string, OwnValue] => {
      const local = tokenRowsName(rows);
      return [local, { kind: "tokens", tensor: params.get(local) as HostTensor, rows }];
    }),
  ];
}

export interface CreateFormedOptions {
  readonly name: string;
  readonly method: Method;
  readonly form: FileForm<object>;
  readonly modulesToSave: readonly string[];
  /** Kept, not copied. */
  readonly own: ReadonlyMap<string, OwnValue>;
  readonly configJson?: Readonly<Record<string, unknown>>;
  /** What made the form, for errors. */
  readonly by: string;
}

/**
 * An adapter that holds what a form says, and beside its layers what others had.
 * @throws PeftError `METHOD_INVALID` when the form's tensors are not those of its config.
 */
export async function createFormed(base: BaseModel, options: CreateFormedOptions): Promise<Adapter> {
  const { name, method, form, own, configJson } = options;
  const adapter = await createAdapter(base, {
    ...{ name, method, configJson, filled: "all" },
    config: formConfig(base, options),
  });
  fillLayers(adapter, form, options.by);
  restoreLayers(base, adapter);
  for (const [local, { kind, tensor }] of own) {
    if (kind === "tokens") adapter.params.set(local, tensor);
    else adapter.overrides.set(local, { kind, tensor });
  }
  return adapter;
}

/** The form's config for its layers: its own fields for this, where it has them, may say something else, and so may the layout. */
function formConfig(
  base: BaseModel,
  { method, form: { config, params }, modulesToSave, own }: CreateFormedOptions,
): object {
  const modules = [...new Set(modulesToSave)];
  const others = base.sites.map(({ path }) => path).filter((path) => !params.has(path) && !isInModules(path, modules));
  const rows = [...own.values()].flatMap(({ rows: table }) => (table === null ? [] : [[table.path, table.ids]]));
  const fields: TargetConfig & Record<string, unknown> = {
    targetModules: shortestSuffixes([...params.keys()], others),
    ...{ targetRoles: null, excludeModules: null, layersToTransform: null, layersPattern: null },
    modulesToSave: modules,
    trainableTokenIndices: rows.length === 0 ? null : (Object.fromEntries(rows) as unknown),
  };
  const { [layoutField(method) ?? ""]: _, ...said } = config as Readonly<Record<string, unknown>>;
  return { ...said, ...Object.fromEntries(Object.entries(fields).filter(([field]) => field in config)) };
}

function fillLayers(adapter: Adapter, { params }: FileForm<object>, by: string): void {
  for (const { site, names } of adapter.layers) {
    const tensors = params.get(site.path) ?? {};
    const unknown = Object.keys(tensors).find((short) => !names.includes(short));
    if (unknown !== undefined)
      throw new PeftError(
        "METHOD_INVALID",
        `${by} gives "${site.path}.${unknown}", but under the config that it gives method "${adapter.method.name}" has ${names.join(", ")}.`,
      );
    for (const short of names) {
      const local = `${site.path}.${short}`;
      const tensor = tensors[short];
      const values = valuesOf(adapter, local);
      if (tensor === undefined && values === adapter.buffers) continue;
      const expected = (values.get(local) as HostTensor).shape.join(", ");
      const got = tensor?.shape.join(", ");
      if (tensor === undefined || got !== expected) {
        throw new PeftError(
          "METHOD_INVALID",
          `${by} gives "${local}" ${got === undefined ? "no value" : `the shape [${got}]`}, ` +
            `but under the config that it gives the shape is [${expected}].`,
        );
      }
      values.set(local, tensor);
    }
  }
}
