import { float32, layerParameters, PeftError, sizeOf, widen, zeros } from "@peftjs/core";
import type { CalibrateContext, Calibration, HostTensor, LayerSite, StoredTensor } from "@peftjs/core";
import { budgetOf } from "./budget.ts";
import type { SiftConfig } from "./config.ts";
import { largest } from "./largest.ts";
import { Pool } from "./pool.ts";

/** Chosen places of a layer: int32, ascending, those of the weight in (out, in) order. */
export interface Chosen {
  readonly weight: Int32Array;
  /** Empty when the bias stays as it is; after a global selection the weight's may be, too. */
  readonly bias: Int32Array;
}

/** By layer path. */
export type Selection = ReadonlyMap<string, Chosen>;

/** Numbers by which entries are chosen, by parameter name: the largest in absolute value are. */
type Scores = ReadonlyMap<string, HostTensor>;
type Context = CalibrateContext<SiftConfig>;

/** Entries whose gradients are held at once: half a gigabyte, as much again with several batches. */
const GROUP_SIZE = 2 ** 27;

/** A tensor that entries are chosen of. */
interface Tensor {
  readonly site: LayerSite;
  readonly part: "weight" | "bias";
  readonly k: number;
}

/** Takes the scores of the tensors one after the other, and has chosen places of each, ascending. */
interface Chooser {
  add(scores: Float32Array, k: number): void;
  chosen(): readonly Int32Array[];
}

/**
 * Chooses the entries of every layer, those with the k largest scores (Song et al. 2024, section 4); ties go to the lower place. With
 * scope "global" the Σk largest of all tensors, ties to the earlier one; the config then says how many each has got.
 * "gradient": g = Σ over the first batches of ∂loss/∂p of the model as it is, which no optimizer sees.
 * @throws PeftError `CALIBRATION_DATA_MISSING`, `CALIBRATION_LABELS_MISSING`, `CALIBRATION_NOT_FINITE`.
 */
export async function select(context: Context): Promise<Calibration<SiftConfig>> {
  const { config } = context;
  const score = { gradient: byGradient, magnitude: byMagnitude, random: atRandom }[config.selection];
  const tensors = context.sites.flatMap((site) => tensorsOf(site, config));
  const chooser = config.scope === "global" ? new Pool(tensors.reduce((sum, { k }) => sum + k, 0)) : perTensor();
  for (const sites of groups(context.sites)) {
    const scores = await score(context, sites);
    for (const { k, ...tensor } of sites.flatMap((site) => tensorsOf(site, config)))
      chooser.add(scoresOf(tensor, scores), k);
  }
  const places = chooser.chosen();
  const values = new Map(context.sites.map(({ path }): [string, Chosen] => [path, NOTHING]));
  tensors.forEach(({ site: { path }, part }, i) => {
    values.set(path, { ...(values.get(path) as Chosen), [part]: places[i] as Int32Array });
  });
  return config.scope === "global" ? { values, config: { ...config, entries: counted(values) } } : { values };
}

const NOTHING: Chosen = { weight: new Int32Array(), bias: new Int32Array() };

/** Those that the budget has entries for. */
function tensorsOf(site: LayerSite, config: SiftConfig): Tensor[] {
  const { weight, bias } = budgetOf(site, config);
  const tensors: Tensor[] = [
    { site, part: "weight", k: weight },
    { site, part: "bias", k: bias },
  ];
  return tensors.filter(({ k }) => k > 0);
}

function perTensor(): Chooser {
  const chosen: Int32Array[] = [];
  return { add: (scores, k) => void chosen.push(largest(scores, k)), chosen: () => chosen };
}

/** How many entries of weight and bias were chosen, of layers that have any. */
function counted(values: Selection): NonNullable<SiftConfig["entries"]> {
  const counts = [...values].map(([path, { weight, bias }]) => [path, [weight.length, bias.length]] as const);
  return Object.fromEntries(counts.filter(([, [weight, bias]]) => weight + bias > 0));
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

/** In the order of the places. */
function scoresOf({ site, part }: Pick<Tensor, "site" | "part">, scores: Scores): Float32Array {
  const found = scores.get(site[part] as string) as HostTensor;
  return part === "weight" ? outIn(found, site) : (found.data as Float32Array);
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
  return Promise.resolve(
    new Map(sites.flatMap(layerParameters).map((name) => [name, widen(stored(model.parameters, name))])),
  );
}

/** Numbers drawn for every entry: the weight's, then the bias's, layer by layer. */
function atRandom({ model, generator }: Context, sites: readonly LayerSite[]): Promise<Scores> {
  const draw = (name: string): HostTensor => {
    const { shape } = stored(model.parameters, name);
    return float32(generator.uniform(sizeOf(shape)), shape);
  };
  return Promise.resolve(new Map(sites.flatMap(layerParameters).map((name) => [name, draw(name)])));
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
