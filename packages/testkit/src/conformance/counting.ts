import { isInModules, parseConfig, resolveTargets, sizeOf, weightShape, zeros } from "@peftjs/core";
import { blankGenerator } from "@peftjs/core/internal";
import type { LayerSite, Method, Named, TargetConfig } from "@peftjs/core";
import type { Described } from "./architectures.ts";

export interface Count {
  /** Layers adapted. */
  readonly targets: number;
  /** Parameters of the method that learn, trained base parameters left out. */
  readonly adapter: number;
  /** With saved modules and trained base parameters. */
  readonly trainable: number;
  /** Base model, adapter with its buffers, and copies of saved modules. */
  readonly all: number;
}

/**
 * What a method adds to a model, from shapes alone: its `init` runs on small stand-ins of the layers. How many parameters a layer gets
 * is c₀ + c₁·in + c₂·out for most methods; a fourth stand-in checks that it is, and where it is not, `init` runs once per size of layer.
 */
export function countTrainable<Config extends object>(
  method: Method<Config>,
  settings: Partial<Config>,
  model: Described,
): Count {
  const parsed = parseConfig(method, settings);
  const config = method.resolve?.(parsed, model) ?? parsed;
  const rules = method.targets(config);
  const targets = rules === null ? [] : resolveTargets(rules, model);
  const known = new Map<string, SizeOf>();
  const found = targets.map((site) => {
    const own = method.siteConfig?.({ site, config }) ?? config;
    // What a method does with a layer may depend on its role and name.
    const name = site.path.split(".").slice(-2);
    const key = JSON.stringify([site.kind, site.layout, site.role, name, site.bias === null, own]);
    const sizeAt = known.get(key) ?? sizes(method, site, own);
    known.set(key, sizeAt);
    return sizeAt(site);
  });
  const saved = (config as Partial<TargetConfig>).modulesToSave ?? model.headModules;
  const copies = model.parameters.filter(({ name }) => isInModules(name, saved));
  const trained = model.parameters.filter(
    (parameter) => !copies.includes(parameter) && method.trains?.({ name: parameter.name, targets, config }) === true,
  );
  const adapter = total(found.map(({ params }) => params));
  const buffers = total(found.map(({ buffers }) => buffers));
  const elements = (list: Described["parameters"]): number => total(list.map(({ shape }) => sizeOf(shape)));
  return {
    targets: targets.length,
    adapter,
    trainable: adapter + elements(copies) + elements(trained),
    all: elements(model.parameters) + adapter + buffers + elements(copies),
  };
}

interface Size {
  readonly params: number;
  readonly buffers: number;
}
type SizeOf = (site: Pick<LayerSite, "inFeatures" | "outFeatures">) => Size;

const UNIT = 64;

function sizes<Config extends object>(method: Method<Config>, like: LayerSite, config: Config): SizeOf {
  const at: SizeOf = ({ inFeatures, outFeatures }) => {
    const site = { ...like, inFeatures, outFeatures };
    const result = method.init?.({
      ...{ site, config, generator: blankGenerator(), calibration: undefined },
      weight: zeros(weightShape(site)),
      bias: site.bias === null ? null : zeros([site.outFeatures]),
    });
    return { params: elementsOf(result?.params), buffers: elementsOf(result?.buffers) };
  };
  const [plane, exact] = [affine(at), once(at)];
  // A rank may be limited by a dimension, which those of the stand-ins hide where a layer is smaller.
  return (site) => (plane === null || Math.min(site.inFeatures, site.outFeatures) < UNIT ? exact : plane)(site);
}

/** c₀ + c₁·in + c₂·out from small layers; null where that is not what sizes grow by. */
function affine(at: SizeOf): SizeOf | null {
  const units = (inUnits: number, outUnits: number): Size =>
    at({ inFeatures: inUnits * UNIT, outFeatures: outUnits * UNIT });
  const [one, wider, taller, both] = [units(1, 1), units(2, 1), units(1, 2), units(2, 3)];
  const plane =
    (part: keyof Size) =>
    ({ inFeatures, outFeatures }: Pick<LayerSite, "inFeatures" | "outFeatures">): number =>
      one[part] +
      (wider[part] - one[part]) * (inFeatures / UNIT - 1) +
      (taller[part] - one[part]) * (outFeatures / UNIT - 1);
  const sizeAt: SizeOf = (site) => ({ params: plane("params")(site), buffers: plane("buffers")(site) });
  const foretold = sizeAt({ inFeatures: 2 * UNIT, outFeatures: 3 * UNIT });
  return foretold.params === both.params && foretold.buffers === both.buffers ? sizeAt : null;
}

function once(at: SizeOf): SizeOf {
  const known = new Map<string, Size>();
  return (site) => {
    const key = `${site.inFeatures}/${site.outFeatures}`;
    const size = known.get(key) ?? at(site);
    known.set(key, size);
    return size;
  };
}

function elementsOf(tensors: Named<{ readonly shape: readonly number[] }> = {}): number {
  return total(Object.values(tensors).map(({ shape }) => sizeOf(shape)));
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, n) => sum + n, 0);
}
