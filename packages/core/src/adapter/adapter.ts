import { layoutField, withLayout } from "../checkpoint/adapterConfig.ts";
import { PeftError } from "../errors.ts";
import type { HostSite, InitContext, InitResult, Method } from "../method/method.ts";
import { parseConfig } from "../method/parseConfig.ts";
import type { BaseModel } from "../model/model.ts";
import { PROMPT, weightShape, type LayerSite } from "../model/site.ts";
import { blankGenerator, createGenerator, type Generator } from "../random.ts";
import { resolveTargets } from "../targeting.ts";
import { storedLike, widen } from "../stored.ts";
import { cloneTensor, type HostTensor, type Named, type StoredTensor } from "../tensors.ts";
import { printWarning, type Warn } from "../warnings.ts";
import { calibrate, type CalibrationData } from "./calibrate.ts";
import { parametersIn, savedModules } from "./savedModules.ts";
import { requireValues } from "./quantized.ts";
import { tiedNames } from "./tied.ts";
import { initialTokenRows, resolveTokenRows, tokenRowsName, type TokenRows } from "./tokens.ts";

/**
 * A private value of a base parameter, used while the adapter is active.
 * `saved`: a module trained in full beside the method; `trained`: what the method itself trains; `replaced`: a base weight that
 * the method's initialisation changed, frozen, and stored as the base model stores its own.
 */
export type Override =
  | { readonly kind: "saved" | "trained"; readonly tensor: HostTensor }
  | { readonly kind: "replaced"; readonly tensor: StoredTensor };

/** A layer with an adapter on it. */
export interface AdaptedLayer {
  readonly site: LayerSite;
  /** The method's config for this layer. */
  readonly config: object;
  /** Short names of the layer's parameters and buffers; the adapter holds them as `<path>.<name>`. */
  readonly names: readonly string[];
  /** Short names of the layer's state. */
  readonly stateNames: readonly string[];
}

export interface Adapter {
  /** Unlike the name, never used twice. */
  readonly id: number;
  readonly name: string;
  readonly method: Method;
  readonly config: object;
  readonly layers: readonly AdaptedLayer[];
  /** Modules trained in full and saved with the adapter. */
  readonly modulesToSave: readonly string[];
  /** Embedding rows that it trains. */
  readonly tokens: readonly TokenRows[];
  /** Trainable parameters as `<site path>.<short name>`. */
  readonly params: Map<string, HostTensor>;
  /** Untrained tensors of the layers, named alike. */
  readonly buffers: Map<string, HostTensor>;
  /** What `track` and `afterStep` change, named alike. */
  readonly state: Map<string, HostTensor>;
  /** By name of the base parameter; tied parameters share one tensor. */
  readonly overrides: Map<string, Override>;
  /** Keys of a loaded adapter_config.json that no field of the config holds; written back on save. */
  readonly configJson: Readonly<Record<string, unknown>>;
}

export interface CreateAdapterOptions {
  readonly name: string;
  readonly method: Method;
  readonly config?: object | undefined;
  readonly seed?: number | undefined;
  /**
   * Values are about to be filled in, so nothing is calibrated. "all": no initial value stays, and random numbers are zeros.
   * "some": those that stay are drawn.
   */
  readonly filled?: "all" | "some" | undefined;
  readonly calibration?: CalibrationData | undefined;
  readonly configJson?: Readonly<Record<string, unknown>> | undefined;
  /** Default: the console. */
  readonly onWarning?: Warn | undefined;
}

let created = 0;

/**
 * Parses the config, finds the layers and initialises their parameters, in the order of the model's layers, from one generator
 * seeded with `seed`. The base model is only read.
 */
export async function createAdapter(base: BaseModel, options: CreateAdapterOptions): Promise<Adapter> {
  const { name, method, seed = 0, onWarning = printWarning } = options;
  const generator = options.filled === "all" ? blankGenerator() : createGenerator(seed);
  const given = resolvedConfig(method, options.config ?? {}, base);
  const found =
    options.filled === undefined
      ? await calibrate(base, {
          ...{ method, generator, config: given, data: options.calibration, warn: onWarning },
          sites: sitesOf(base, method, given),
        })
      : {};
  const chosen = found.config ?? given;
  const sites = sitesOf(base, method, chosen);
  const config = withLayout(method, chosen, sites);
  warnOfLayout(config, options, onWarning);
  const modulesToSave = savedModules(base, config);
  const adapter: Adapter = {
    id: ++created,
    name,
    method,
    config,
    layers: [],
    modulesToSave,
    tokens: resolveTokenRows(base, config, { sites, modulesToSave }),
    params: new Map(),
    buffers: new Map(),
    state: new Map(),
    overrides: new Map(),
    configJson: options.configJson ?? {},
  };
  const start = { base, adapter, generator, fromFile: options.filled !== undefined, calibration: found.values };
  const layers = sites.map((site) => initLayer({ ...start, site }));
  addSaved(base, adapter);
  addTrained(base, adapter, sites);
  for (const rows of adapter.tokens) adapter.params.set(tokenRowsName(rows), initialTokenRows(base, rows));
  return { ...adapter, layers };
}

/** Readers trust the field, so a wrong one is worth a word; the default is not the user's. */
function warnOfLayout(config: object, options: CreateAdapterOptions, warn: Warn): void {
  const field = layoutField(options.method);
  if (field === undefined) return;
  const said = (options.config as Readonly<Record<string, unknown>> | undefined)?.[field];
  const is = (config as Readonly<Record<string, unknown>>)[field];
  if (said === undefined || said === is) return;
  warn(
    `The adapter "${options.name}" has ${field}: ${String(said)}, but its layers store their weights ${is === true ? "[in, out]" : "[out, in]"}. ` +
      `It is set to ${String(is)}, which is also what saveAdapter writes.`,
  );
}

/** The config as the method's schema and the model complete it. */
export function resolvedConfig<Config extends object>(
  method: Method<Config>,
  given: object,
  model: Pick<BaseModel, "modelType">,
): Config {
  const config = parseConfig(method, given);
  return method.resolve?.(config, model) ?? config;
}

function sitesOf(base: BaseModel, method: Method, config: object): LayerSite[] {
  const targets = method.targets(config);
  const sites = targets === null ? [] : resolveTargets(targets, base);
  requireValues(base, method, { config, sites });
  if (method.virtualTokens !== undefined || !sites.some(({ kind }) => kind === "prompt")) return sites;
  throw new PeftError(
    "CONFIG_INVALID",
    `The role "${PROMPT}" is the place of virtual tokens, and method "${method.name}" has none. Target layers.`,
  );
}

interface InitLayerOptions {
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly site: LayerSite;
  readonly generator: Generator;
  readonly fromFile: boolean;
  readonly calibration: unknown;
}

function initLayer({ base, adapter, site, ...start }: InitLayerOptions): AdaptedLayer {
  const { method } = adapter;
  const config = siteConfig(method, site, adapter.config);
  const { weight, bias } = site;
  checkWeight(site, parameterOf(base, weight));
  const context: InitContext<object> = {
    ...{ site, config, ...start },
    // Widened when they are asked for: few methods look at the values.
    get weight() {
      return widen(parameterOf(base, weight));
    },
    get bias() {
      return bias === null ? null : widen(parameterOf(base, bias));
    },
  };
  const result: InitResult = method.init?.(context) ?? { params: {} };
  const { params, buffers = {}, state = {} } = result;
  for (const [values, tensors] of [
    [adapter.params, params],
    [adapter.buffers, buffers],
    [adapter.state, state],
  ] as const)
    for (const [short, tensor] of Object.entries(tensors)) values.set(`${site.path}.${short}`, tensor);
  if (result.weight !== undefined) {
    checkWeight(site, result.weight);
    const tensor = storedLike(result.weight, parameterOf(base, weight));
    adapter.overrides.set(weight, { kind: "replaced", tensor });
  }
  const names = [...Object.keys(params), ...Object.keys(buffers)];
  return { site, config, names, stateNames: Object.keys(state) };
}

/** The method's config for one layer. */
function siteConfig(method: Method, site: LayerSite, config: object): object {
  return method.siteConfig?.({ site, config }) ?? config;
}

function addTrained(base: BaseModel, adapter: Adapter, targets: readonly LayerSite[]): void {
  const { method, config } = adapter;
  if (method.trains === undefined) return;
  for (const name of base.parameters.keys()) {
    if (method.trains({ name, targets, config })) override(base, adapter, { name, kind: "trained" });
  }
}

function addSaved(base: BaseModel, adapter: Adapter): void {
  for (const name of parametersIn(base, adapter.modulesToSave)) override(base, adapter, { name, kind: "saved" });
}

/** Gives the adapter a copy of a base parameter in float32, shared with the parameters tied to it. */
function override(
  base: BaseModel,
  adapter: Adapter,
  { name, kind }: { readonly name: string; readonly kind: "saved" | "trained" },
): void {
  const present = adapter.overrides.get(name);
  if (present !== undefined && present.kind !== "replaced") return;
  const tensor = privateCopy(present?.tensor ?? parameterOf(base, name));
  for (const tied of tiedNames(base, name)) adapter.overrides.set(tied, { kind, tensor });
}

/** What learns is float32: updates are smaller than what two bytes, or one, tell apart. */
export function privateCopy(tensor: StoredTensor): HostTensor {
  const wide = widen(tensor);
  return wide === tensor ? cloneTensor(wide) : wide;
}

/** The base parameter as it is stored. */
export function parameterOf(base: BaseModel, name: string): StoredTensor {
  const tensor = base.parameters.get(name);
  if (tensor === undefined) throw new PeftError("PARAMETER_UNKNOWN", `The model has no parameter "${name}".`);
  return tensor;
}

function checkWeight(site: LayerSite, weight: StoredTensor): void {
  const expected = weightShape(site);
  if (weight.shape.length !== 2 || weight.shape[0] !== expected[0] || weight.shape[1] !== expected[1]) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `The weight of ${site.path} has shape [${weight.shape.join(", ")}], but its layer is described as [${expected.join(", ")}].`,
    );
  }
}

/** Where a layer's value is held: among the parameters, or the buffers. */
export function valuesOf({ params, buffers }: Adapter, local: string): Map<string, HostTensor> {
  return params.has(local) ? params : buffers;
}

/** A layer's parameters and buffers by short name. */
export function layerTensors(adapter: Adapter, layer: AdaptedLayer): Named<HostTensor> {
  const read = (local: string): HostTensor => valuesOf(adapter, local).get(local) as HostTensor;
  return Object.fromEntries(layer.names.map((short) => [short, read(`${layer.site.path}.${short}`)]));
}

/** A layer's tensors as host functions of the method see them. */
export function hostSite(adapter: Adapter, layer: AdaptedLayer): HostSite<object> {
  const { site, config, stateNames } = layer;
  const state = stateNames.map((short) => [short, adapter.state.get(`${site.path}.${short}`) as HostTensor]);
  return { site, config, params: layerTensors(adapter, layer), state: Object.fromEntries(state) as Named<HostTensor> };
}
