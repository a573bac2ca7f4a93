import * as tf from "@tensorflow/tfjs-core";
import type { AttachedLayer, View } from "../adapter/view.ts";
import { PeftError } from "../errors.ts";
import { didYouMean } from "../nearMisses.ts";
import { attention, dropout, recompute, type DropoutSite } from "../ops/index.ts";
import type { Named } from "../tensors.ts";
import type { AttentionInputs, AttentionSettings, Forward } from "./model.ts";
import type { LayerSite } from "./site.ts";

export interface LayeredForwardOptions {
  readonly sites: ReadonlyMap<string, LayerSite>;
  readonly view: View;
  readonly tensors: readonly Named<tf.Tensor>[];
  readonly training: boolean;
  /** int32 [2]: the run's seed and the step. */
  readonly key?: tf.Tensor1D | undefined;
  /** Blocks keep their inputs alone for the backward pass. */
  readonly recompute?: boolean | undefined;
  /**
   * Told what goes into each layer, [n, in] or ids [n], and which tensor of the model that is: the same one for layers that share it.
   * The model then computes every position of every block.
   */
  readonly observe?: ((path: string, x: tf.Tensor, source: tf.Tensor) => void) | undefined;
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
    const key = this.#options.view.keys.get(name);
    if (key === undefined) {
      throw new PeftError(
        "PARAMETER_UNKNOWN",
        `The model has no parameter "${name}".${didYouMean(name, this.#options.view.keys.keys())}`,
      );
    }
    return this.#tensor(key);
  }

  linear(path: string, x: tf.Tensor): tf.Tensor {
    const site = this.#site(path, "linear");
    const flat = x.rank === 2 ? (x as tf.Tensor2D) : (tf.reshape(x, [-1, site.inFeatures]) as tf.Tensor2D);
    this.#options.observe?.(path, flat, x);
    const weight = this.parameter(site.weight) as tf.Tensor2D;
    const bias = site.bias === null ? null : (this.parameter(site.bias) as tf.Tensor1D);
    const y = this.#fold(path, { x: flat, weight, bias }, (input): tf.Tensor2D => {
      const product: tf.Tensor2D = tf.matMul(input, weight, false, site.layout === "out_in");
      return bias === null ? product : (tf.add(product, bias) as tf.Tensor2D);
    });
    return x.rank === 2 ? y : tf.reshape(y, [...x.shape.slice(0, -1), site.outFeatures]);
  }

  embedding(path: string, ids: tf.Tensor): tf.Tensor {
    const site = this.#site(path, "embedding");
    const weight = this.parameter(site.weight) as tf.Tensor2D;
    const flat = ids.rank === 1 ? ids : tf.reshape(ids, [-1]);
    this.#options.observe?.(path, flat, ids);
    // Methods see the ids where a linear layer has its input; the contract names one type for both.
    const y = this.#fold(
      path,
      { x: flat as unknown as tf.Tensor2D, weight, bias: null },
      (input) => tf.gather(weight, input as unknown as tf.Tensor1D) as tf.Tensor2D,
    );
    return ids.rank === 1 ? y : tf.reshape(y, [...ids.shape, site.outFeatures]);
  }

  dropout<T extends tf.Tensor>(x: T, rate: number): T {
    const site = this.#dropoutSite(rate);
    return site === null ? x : dropout(x, site.rate, site.key, site.stream);
  }

  attention(inputs: AttentionInputs, { scale, bias, dropout: rate }: AttentionSettings): tf.Tensor4D {
    return attention(inputs, { scale, bias, dropout: this.#dropoutSite(rate) });
  }

  block<T extends tf.Tensor>(path: string, inputs: readonly tf.Tensor[], run: (...inputs: tf.Tensor[]) => T): T {
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
    const { keys, layers, slots } = this.#options.view;
    const below = ([name]: readonly [string, unknown]): boolean => name.startsWith(`${path}.`);
    const own = [...keys].filter(below).map(([, key]) => key);
    const attached = [...layers].filter(below).flatMap(([, list]) => list.flatMap((layer) => [...layer.keys.values()]));
    return [...new Set([...own, ...attached])].filter((key) => slots.has(key));
  }

  #fold(
    path: string,
    { x, weight, bias }: { readonly x: tf.Tensor2D; readonly weight: tf.Tensor2D; readonly bias: tf.Tensor1D | null },
    base: (x: tf.Tensor2D) => tf.Tensor2D,
  ): tf.Tensor2D {
    const { layers, unmerged } = this.#options.view;
    const attached = layers.get(path);
    if (attached === undefined) return base(x);
    const { site } = (attached as readonly [AttachedLayer])[0].layer;
    const weightKey = unmerged.get(site.weight);
    const biasKey = site.bias === null ? undefined : unmerged.get(site.bias);
    const own = {
      weight: weightKey === undefined ? weight : (this.#tensor(weightKey) as tf.Tensor2D),
      bias: biasKey === undefined ? bias : (this.#tensor(biasKey) as tf.Tensor1D),
    };
    const layered = attached.reduce<(input: tf.Tensor2D) => tf.Tensor2D>(
      (below, { adapter, layer, keys }, index) =>
        (input) =>
          (adapter.method.forward as NonNullable<typeof adapter.method.forward>)({
            site: layer.site,
            config: layer.config,
            params: this.#params({ keys }),
            x: input,
            base: below,
            innermost: index === 0 && !this.#options.view.unmerged.has(layer.site.weight),
            ...own,
            training: this.training,
            dropout: (value, rate) => this.dropout(value, rate),
          }),
      base,
    );
    return layered(x);
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
