import { float32, PeftError, sizeOf, widen, zeros } from "@peftjs/core";
import type { CalibrateContext, Calibration, HostTensor, LayerSite, StoredTensor } from "@peftjs/core";
import { budgetOf } from "./budget.ts";
import type { SiftConfig } from "./config.ts";
import { largest } from "./largest.ts";

/** Chosen places of a layer: int32, ascending, those of the weight in (out, in) order. */
export interface Chosen {
  readonly weight: Int32Array;
  /** Empty when the bias stays as it is. */
  readonly bias: Int32Array;
}

/** By layer path. */
export type Selection = ReadonlyMap<string, Chosen>;

/** Numbers by which entries are chosen, by parameter name: the largest in absolute value are. */
type Scores = ReadonlyMap<string, HostTensor>;
type Context = CalibrateContext<SiftConfig>;

/** Entries whose gradients are held at once: half a gigabyte, as much again with several batches. */
const GROUP_SIZE = 2 ** 27;

/**
 * Chooses the entries of every layer, those with the k largest scores (Song et al. 2024, section 4); ties go to the lower place.
 * "gradient": g = Σ over the first batches of ∂loss/∂p of the model as it is, which no optimizer sees.
 * @throws PeftError `CALIBRATION_DATA_MISSING`, `CALIBRATION_LABELS_MISSING`, `CALIBRATION_NOT_FINITE`.
 */
export async function select(context: Context): Promise<Calibration<SiftConfig>> {
  const score = { gradient: byGradient, magnitude: byMagnitude, random: atRandom }[context.config.selection];
  const values = new Map<string, Chosen>();
  for (const sites of groups(context.sites)) {
    const scores = await score(context, sites);
    for (const site of sites) values.set(site.path, chosen(site, { scores, config: context.config }));
  }
  return { values };
}

/** Layers in the model's order, as many at a time as fit the memory for their gradients. */
function groups(sites: readonly LayerSite[]): LayerSite[][] {
  const found: LayerSite[][] = [];
  let size = Infinity;
  for (const site of sites) {
    const own = site.inFeatures * site.outFeatures;
    if (size + own > GROUP_SIZE) {
      found.push([]);
      size = 0;
    }
    size += own;
    found.at(-1)?.push(site);
  }
  return found;
}

function chosen(site: LayerSite, { scores, config }: { readonly scores: Scores; readonly config: SiftConfig }): Chosen {
  const { weight, bias } = budgetOf(site, config);
  const of = (name: string): HostTensor => scores.get(name) as HostTensor;
  return {
    weight: largest(outIn(of(site.weight), site), weight),
    bias: bias === 0 || site.bias === null ? new Int32Array() : largest(of(site.bias).data as Float32Array, bias),
  };
}

/** Values of a weight in (out, in) order. */
function outIn({ data }: HostTensor, { layout, inFeatures, outFeatures }: LayerSite): Float32Array {
  if (layout === "out_in") return data as Float32Array;
  const turned = new Float32Array(data.length);
  for (let i = 0; i < inFeatures; i++)
    for (let o = 0; o < outFeatures; o++) turned[o * inFeatures + i] = data[i * outFeatures + o] as number;
  return turned;
}

async function byGradient({ config, batches, gradients, warn }: Context, sites: readonly LayerSite[]): Promise<Scores> {
  const { selectionBatches: wanted, selectionReduce: reduce } = config;
  const sum = new Map<string, HostTensor>();
  let seen = 0;
  for (const batch of firstOf(batches ?? [], wanted)) {
    for (const [name, gradient] of await gradients(batch, { sites })) add(sum, name, { gradient, reduce });
    seen++;
  }
  if (seen === 0) throw dataMissing();
  if (seen < wanted) warn(`SIFT was to choose by the gradients of ${wanted} batches, but was given ${seen}.`);
  return sum;
}

function* firstOf<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const item of items) {
    yield item;
    if (--left === 0) return;
  }
}

function add(
  sum: Map<string, HostTensor>,
  name: string,
  { gradient, reduce }: { readonly gradient: HostTensor; readonly reduce: SiftConfig["selectionReduce"] },
): void {
  const { data } = sum.get(name) ?? zeros(gradient.shape);
  // A plain loop: these are all the weights of the layers.
  for (let i = 0; i < data.length; i++) {
    const value = gradient.data[i] as number;
    (data[i] as number) += reduce === "sum-of-abs" ? Math.abs(value) : value;
  }
  sum.set(name, { ...gradient, data } as HostTensor);
}

function byMagnitude({ model }: Context, sites: readonly LayerSite[]): Promise<Scores> {
  return Promise.resolve(new Map(parametersOf(sites).map((name) => [name, widen(stored(model.parameters, name))])));
}

/** Numbers drawn for every entry: the weight's, then the bias's, layer by layer. */
function atRandom({ model, generator }: Context, sites: readonly LayerSite[]): Promise<Scores> {
  const draw = (name: string): HostTensor => {
    const { shape } = stored(model.parameters, name);
    return float32(generator.uniform(sizeOf(shape)), shape);
  };
  return Promise.resolve(new Map(parametersOf(sites).map((name) => [name, draw(name)])));
}

function parametersOf(sites: readonly LayerSite[]): string[] {
  return sites.flatMap(({ weight, bias }) => (bias === null ? [weight] : [weight, bias]));
}

function stored(parameters: ReadonlyMap<string, StoredTensor>, name: string): StoredTensor {
  return parameters.get(name) as StoredTensor;
}

function dataMissing(): PeftError {
  return new PeftError(
    "CALIBRATION_DATA_MISSING",
    "SIFT chooses the entries it trains by the gradient on labelled batches, but got none. " +
      'Pass the training batches, apply({ batches, runner: engine }), or set selection to "magnitude" or "random".',
  );
}
