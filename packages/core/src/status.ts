import type { Adapter } from "./adapter/adapter.ts";
import { parametersIn } from "./adapter/savedModules.ts";
import type { Switching } from "./adapter/switching.ts";
import { tokenRowsName } from "./adapter/tokens.ts";
import type { BaseModel } from "./model/model.ts";
import type { LayerSite } from "./model/site.ts";
import { countParameters } from "./report.ts";

/** Whether parameters learn: all, none, or some of them. */
export type RequiresGrad = boolean | "irregular";

/** One place of the model that adapters have something at. */
export interface LayerStatus {
  /** Module path. */
  readonly name: string;
  /** A layer with adapters on it, a module that adapters have copies of, or a table with trained rows. */
  readonly moduleType: LayerSite["kind"] | "savedModule" | "tokenRows";
  /** False inside `disable`. */
  readonly enabled: boolean;
  readonly activeAdapters: readonly string[];
  readonly mergedAdapters: readonly string[];
  readonly availableAdapters: readonly string[];
  /** By available adapter. */
  readonly requiresGrad: Readonly<Record<string, RequiresGrad>>;
}

/** The state of the whole model. */
export interface ModelStatus {
  readonly baseModelType: string;
  /** `peft_type` by adapter. */
  readonly peftTypes: Readonly<Record<string, string>>;
  readonly trainableParameters: number;
  readonly totalParameters: number;
  /** Number of entries of `layerStatus()`. */
  readonly adapterLayers: number;
  readonly enabled: boolean;
  /** Whether adapters are chosen row by row. */
  readonly mixed: boolean;
  readonly activeAdapters: readonly string[];
  readonly mergedAdapters: readonly string[];
  readonly availableAdapters: readonly string[];
  /** By adapter, over all its places. */
  readonly requiresGrad: Readonly<Record<string, RequiresGrad>>;
}

/** What one adapter has at one place: names of its parameters there, without the adapter's name. */
interface Part {
  readonly adapter: Adapter;
  readonly name: string;
  readonly moduleType: LayerStatus["moduleType"];
  readonly parameters: readonly string[];
}

export function layerStatus(base: BaseModel, switching: Switching): LayerStatus[] {
  const { merged, selection, enabled, view } = switching;
  const places = new Map<string, Part[]>();
  for (const part of partsOf(base, switching)) {
    const key = `${part.moduleType} ${part.name}`;
    places.set(key, [...(places.get(key) ?? []), part]);
  }
  return [...places.values()].map((parts) => {
    const { name, moduleType } = parts[0] as Part;
    const available = parts.map(({ adapter }) => adapter.name);
    const learns = (part: Part): RequiresGrad => summary(keysOf(part).map((key) => view.slots.has(key)));
    return {
      ...{ name, moduleType, enabled },
      activeAdapters: selection.active.filter((other) => available.includes(other)),
      mergedAdapters: merged.filter((other) => available.includes(other)),
      availableAdapters: available,
      requiresGrad: Object.fromEntries(parts.map((part) => [part.adapter.name, learns(part)])),
    };
  });
}

export function modelStatus(base: BaseModel, switching: Switching): ModelStatus {
  const { adapters, merged, selection, enabled, view } = switching;
  const layers = layerStatus(base, switching);
  const { trainable, total } = countParameters(base, { adapters: adapters.values(), view });
  const learns = (name: string): RequiresGrad =>
    summary(layers.flatMap(({ requiresGrad }) => requiresGrad[name] ?? []));
  return {
    baseModelType: base.modelType,
    peftTypes: Object.fromEntries([...adapters.values()].map(({ name, method }) => [name, method.wire.peftType])),
    trainableParameters: trainable,
    totalParameters: total,
    adapterLayers: layers.length,
    enabled,
    mixed: selection.mixed,
    activeAdapters: selection.active,
    mergedAdapters: merged,
    availableAdapters: [...adapters.keys()],
    requiresGrad: Object.fromEntries([...adapters.keys()].map((name) => [name, learns(name)])),
  };
}

function partsOf(base: BaseModel, { adapters }: Switching): Part[] {
  return [...adapters.values()].flatMap((adapter): Part[] => {
    const { layers, modulesToSave, tokens, params } = adapter;
    return [
      ...layers.map(({ site, names }): Part => {
        const own = names.map((short) => `${site.path}.${short}`).filter((local) => params.has(local));
        return { adapter, name: site.path, moduleType: site.kind, parameters: own };
      }),
      ...modulesToSave.map((name): Part => {
        return { adapter, name, moduleType: "savedModule", parameters: parametersIn(base, [name]) };
      }),
      ...tokens.map((rows): Part => {
        return { adapter, name: rows.path, moduleType: "tokenRows", parameters: [tokenRowsName(rows)] };
      }),
    ];
  });
}

function keysOf({ adapter, parameters }: Part): string[] {
  return parameters.map((local) => `${adapter.name}.${local}`);
}

function summary(values: readonly RequiresGrad[]): RequiresGrad {
  if (values.length === 0 || values.every((value) => value === false)) return false;
  return values.every((value) => value === true) ? true : "irregular";
}
