import * as tf from "@tensorflow/tfjs-core";
import type { AttachedLayer, View } from "../adapter/view.ts";
import { keyOf, sameTensor } from "../adapter/viewKeys.ts";
import { withTokenRows } from "../adapter/tokens.ts";
import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import { attention, dropout, recompute, withoutGradient, type DropoutSite } from "../ops/index.ts";
import type { Named } from "../tensors.ts";
import type { AttentionInputs, AttentionSettings, Forward, VirtualTokens } from "./model.ts";
import { responseFactors, withResponse, type Layer, type ResponseOptions } from "./response.ts";
import { layerParameters, type LayerSite } from "./site.ts";
import { virtualTokens } from "./virtualTokens.ts";

export interface LayeredForwardOptions extends ResponseOptions {
  readonly sites: ReadonlyMap<string, LayerSite>;
  readonly view: View;
  readonly tensors: readonly Named<tf.Tensor>[];
  readonly training: boolean;
  /** int32 [2]: the run's seed and the step. */
  readonly key?: tf.Tensor1D | undefined;
  /** Blocks keep their inputs alone for the backward pass. */
  readonly recompute?: boolean | undefined;
  /** Which active adapter computes each row of the batch, −1: none. int32 [B]. In a mixed view only. */
  readonly adapterIndex?: tf.Tensor1D | undefined;
  /** Index of the first block that learns: those before it are computed as constants. Default: 0. */
  readonly learnsFrom?: number | undefined;
  /** Told of each layer that has been computed. The model then computes every position of every block. */
  readonly observe?: ((layer: ObservedLayer) => void) | undefined;
}

/** What goes into a layer and what comes out of it. */
export interface ObservedLayer {
  readonly path: string;
  /** [n, in], or ids [n]. */
  readonly x: tf.Tensor;
  /** The tensor of the model that x is: the same one for layers that share it. */
  readonly source: tf.Tensor;
  /** [n, out]. */
  readonly y: tf.Tensor;
}

/** The block that is being run, and the tensors that stand for its trainable parameters. */
interface CurrentBlock {
  readonly path: string;
  readonly trainable: ReadonlyMap<string, tf.Tensor>;
}

/**
 * One forward run: hands the architecture its parameters, and folds the active adapters around each layer, y = fₖ(… f₁(base)).
 * Dropout sites are numbered in the order in which they are reached.
 */
export class LayeredForward implements Forward {
  readonly training: boolean;
  readonly everyPosition: boolean;
  readonly #options: LayeredForwardOptions;
  #stream = 0;
  #block: CurrentBlock | null = null;

  constructor(options: LayeredForwardOptions) {
    this.training = options.training;
    this.everyPosition = options.observe !== undefined;
    this.#options = options;
  }

  parameter(name: string): tf.Tensor {
    const { view } = this.#options;
    const different = view.mixed?.find((own) => !sameTensor(own, view, name));
    if (different !== undefined) {
      throw new PeftError(
        "MIXED_UNSUPPORTED",
        `The adapter "${different.active[0]?.name}" has a "${name}" of its own, which the model applies to all rows at once. ` +
          "In a mixed batch adapters may differ in linear and embedding layers only: run its rows in a batch of their own.",
      );
    }
    return this.#parameter(view, name);
  }

  linear(path: string, x: tf.Tensor): tf.Tensor {
    const site = this.#site(path, "linear");
    const flat = x.rank === 2 ? (x as tf.Tensor2D) : (tf.reshape(x, [-1, site.inFeatures]) as tf.Tensor2D);
    const y = this.#layer(site, flat);
    this.#options.observe?.({ path, x: flat, source: x, y });
    return x.rank === 2 ? y : tf.reshape(y, [...x.shape.slice(0, -1), site.outFeatures]);
  }

  embedding(path: string, ids: tf.Tensor): tf.Tensor {
    const site = this.#site(path, "embedding");
    const flat = ids.rank === 1 ? ids : tf.reshape(ids, [-1]);
    // Methods see the ids where a linear layer has its input; the contract names one type for both.
    const y = this.#layer(site, flat as unknown as tf.Tensor2D);
    this.#options.observe?.({ path, x: flat, source: ids, y });
    return ids.rank === 1 ? y : tf.reshape(y, [...ids.shape, site.outFeatures]);
  }

  virtualTokens(): VirtualTokens {
    return virtualTokens(this.#options.view, {
      ...{ training: this.training, scaled: this.#options.adapterScale !== undefined },
      params: (layer) => this.#params(layer),
      dropout: (value, rate) => this.dropout(value, rate),
    });
  }

  dropout<T extends tf.Tensor>(x: T, rate: number): T {
    const site = this.#dropoutSite(rate);
    return site === null ? x : dropout(x, site.rate, site.key, site.stream);
  }

  attention(inputs: AttentionInputs, { scale, bias, dropout: rate }: AttentionSettings): tf.Tensor4D {
    return attention(inputs, { scale, bias, dropout: this.#dropoutSite(rate) });
  }

  block<T extends tf.Tensor>(path: string, inputs: readonly tf.Tensor[], run: (...inputs: tf.Tensor[]) => T): T {
    if (this.#paused(path)) return withoutGradient(() => run(...inputs));
    if (!this.training || this.#options.recompute !== true) return run(...inputs);
    const keys = this.#trainableBelow(path);
    const stream = this.#stream;
    const again = (...tensors: tf.Tensor[]): T => {
      // The second run draws the masks of the first.
      this.#stream = stream;
      this.#block = { path, trainable: new Map(keys.map((key, i) => [key, tensors[inputs.length + i] as tf.Tensor])) };
      try {
        return run(...tensors.slice(0, inputs.length));
      } finally {
        this.#block = null;
      }
    };
    return recompute(again, [...inputs, ...keys.map((key) => this.#tensor(key))]);
  }

  /**
   * Whether a block comes before the first one that learns. Its result is then a constant, so that neither the blocks nor the embeddings
   * before it have a gradient; the operations in it are not recorded, so that nothing of it is kept.
   */
  #paused(path: string): boolean {
    const { learnsFrom = 0, sites } = this.#options;
    if (learnsFrom === 0) return false;
    const block = [...sites.values()].find((site) => site.block !== null && site.path.startsWith(`${path}.`))?.block;
    return typeof block === "number" && block < learnsFrom;
  }

  /** The next place where dropout is drawn; null where there is none. */
  #dropoutSite(rate: number): DropoutSite | null {
    if (!this.training || rate === 0) return null;
    const { key } = this.#options;
    if (key === undefined) {
      throw new PeftError(
        "KEY_MISSING",
        `Dropout of ${rate} needs a key while training: pass \`key\`, an int32 tensor [seed, step], to forward.`,
      );
    }
    return { rate, key, stream: this.#stream++ };
  }

  /** Keys of the parameters below a module path that learn, those of adapters on its layers included. */
  #trainableBelow(path: string): string[] {
    const { keys, layers, slots, tokens } = this.#options.view;
    const below = ([name]: readonly [string, unknown]): boolean => name.startsWith(`${path}.`);
    const own = [...keys].filter(below).map(([, key]) => key);
    const attached = [...layers].filter(below).flatMap(([, list]) => list.flatMap((layer) => [...layer.keys.values()]));
    const rows = [...tokens].filter(below).flatMap(([, list]) => list.map((entry) => entry.rows));
    return [...new Set([...own, ...attached, ...rows])].filter((key) => slots.has(key));
  }

  #layer(site: LayerSite, x: tf.Tensor2D): tf.Tensor2D {
    const { view } = this.#options;
    const base = this.#base(view, site);
    return view.mixed === null ? this.#fold(view, site, base)(x) : this.#select(view.mixed, { site, x, base });
  }

  /** Row by row the output of the adapter it belongs to. The base product is computed once for all that do not replace it. */
  #select(
    mixed: readonly View[],
    { site, x, base }: { readonly site: LayerSite; readonly x: tf.Tensor2D; readonly base: Layer },
  ): tf.Tensor2D {
    const shared = base(x);
    const once: Layer = (input) => (input === x ? shared : base(input));
    const rows = this.#rows(site, x.shape[0]);
    return mixed.reduce((y, own, i) => {
      const same = layerParameters(site).every((name) => sameTensor(own, this.#options.view, name));
      if (same && !own.layers.has(site.path)) return y;
      const output = this.#fold(own, site, same ? once : this.#base(own, site))(x);
      return tf.where(tf.equal(rows, tf.scalar(i, "int32")), output, y);
    }, shared);
  }

  /** The adapter of every row of a layer's input, [n, 1]: the batch's rows one after another, each as often as it has positions. */
  #rows({ path }: LayerSite, n: number): tf.Tensor2D {
    const index = this.#options.adapterIndex as tf.Tensor1D;
    const batch = index.shape[0];
    if (n % batch !== 0) {
      throw new PeftError(
        "MIXED_UNSUPPORTED",
        `The input of ${path} has ${n} rows, which cannot be divided among the ${batch} rows of the batch. Activate one adapter at a time.`,
      );
    }
    return tf.reshape(tf.tile(tf.reshape(index, [batch, 1]), [1, n / batch]), [n, 1]);
  }

  /** The layer without adapters on it: x·Wᵀ + b, or rows of a table. */
  #base(view: View, site: LayerSite): Layer {
    if (site.kind === "embedding") return (ids) => this.#lookUp(view, site, ids as unknown as tf.Tensor1D);
    const weight = this.#parameter(view, site.weight) as tf.Tensor2D;
    const bias = site.bias === null ? null : (this.#parameter(view, site.bias) as tf.Tensor1D);
    return (x) => {
      const product: tf.Tensor2D = tf.matMul(x, weight, false, site.layout === "out_in");
      return bias === null ? product : (tf.add(product, bias) as tf.Tensor2D);
    };
  }

  /** Trained rows are put among the ones looked up: the table as a whole is not copied. */
  #lookUp(view: View, { weight }: LayerSite, ids: tf.Tensor1D): tf.Tensor2D {
    const table = this.#tensor(keyOf(view, weight)) as tf.Tensor2D;
    return (view.tokens.get(weight) ?? []).reduce(
      (rows, keys) => {
        const places = tf.gather(this.#tensor(keys.places) as tf.Tensor1D, ids);
        return withTokenRows(rows, { places, rows: this.#tensor(keys.rows) as tf.Tensor2D });
      },
      tf.gather(table, ids) as tf.Tensor2D,
    );
  }

  /** What stands for a base parameter in a view. */
  #parameter(view: View, name: string): tf.Tensor {
    return (view.tokens.get(name) ?? []).reduce<tf.Tensor>(
      (table, keys) => {
        const [places, rows] = [this.#tensor(keys.places) as tf.Tensor1D, this.#tensor(keys.rows) as tf.Tensor2D];
        return withTokenRows(table as tf.Tensor2D, { places, rows });
      },
      this.#tensor(keyOf(view, name)),
    );
  }

  /** A view's adapters around a layer, y = fₖ(… f₁(base)). */
  #fold(view: View, site: LayerSite, base: Layer): Layer {
    const attached = view.layers.get(site.path);
    if (attached === undefined) return base;
    const own = (name: string): tf.Tensor => {
      const key = view.unmerged.get(name);
      return key === undefined ? this.#parameter(view, name) : this.#tensor(key);
    };
    const weight = own(site.weight) as tf.Tensor2D;
    const bias = site.bias === null ? null : (own(site.bias) as tf.Tensor1D);
    return attached.reduce<Layer>((below, { adapter, layer, keys }, index) => {
      const { output, own: responseScale } = responseFactors(this.#options, {
        site,
        adapter,
        active: this.#options.view.active,
      });
      const run = (x: tf.Tensor2D, base: Layer): tf.Tensor2D =>
        (adapter.method.forward as NonNullable<typeof adapter.method.forward>)({
          ...{ site, config: layer.config, params: this.#params({ keys }), x, base, weight, bias, responseScale },
          innermost: index === 0 && !view.unmerged.has(site.weight),
          training: this.training,
          dropout: (value, rate) => this.dropout(value, rate),
        });
      return withResponse(run, { below, output });
    }, base);
  }

  #params({ keys }: Pick<AttachedLayer, "keys">): Named<tf.Tensor> {
    return Object.fromEntries([...keys].map(([short, key]) => [short, this.#tensor(key)]));
  }

  #tensor(key: string): tf.Tensor {
    if (this.#block !== null && this.#options.view.slots.has(key)) {
      const tensor = this.#block.trainable.get(key);
      if (tensor !== undefined) return tensor;
      throw new PeftError(
        "BLOCK_INVALID",
        `The block "${this.#block.path}" uses the trainable "${key}", which is not below its path, so recomputation would lose its gradient. ` +
          'Train without recomputation (recompute: "none"), or let the architecture hand it to the block as an input.',
      );
    }
    for (const group of this.#options.tensors) {
      const tensor = group[key];
      if (tensor !== undefined) return tensor;
    }
    throw new PeftError(
      "TENSOR_MISSING",
      `No tensor "${key}" was passed to forward. Pass all of model.frozen() and model.trainable() of the model's current structure.`,
    );
  }

  #site(path: string, kind: LayerSite["kind"]): LayerSite {
    const site = this.#options.sites.get(path);
    if (site === undefined) {
      throw new PeftError(
        "LAYER_UNKNOWN",
        `The architecture calls the layer "${path}" but lists no such site.${didYouMean(path, this.#options.sites.keys())}`,
      );
    }
    if (site.kind !== kind)
      throw new PeftError("LAYER_UNKNOWN", `The layer "${path}" is of kind ${site.kind}, but is called as ${kind}.`);
    return site;
  }
}
