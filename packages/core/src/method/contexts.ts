import type * as tf from "@tensorflow/tfjs-core";
import type { LayerSite } from "../model/site.ts";
import type { BaseModel } from "../model/model.ts";
import type { HostTensor, Named } from "../tensors.ts";
import type { Generator } from "../random.ts";
import type { Method } from "./method.ts";
import type { Warn } from "../warnings.ts";

export interface SiteContext<Config> {
  readonly site: LayerSite;
  /** The config of this site: per-site overrides are already applied. */
  readonly config: Config;
}

/** What goes into layers, or comes out of them, for one batch; of the base model in evaluation. */
export type LayerValues = ReadonlyMap<string, HostTensor>;

/** Gradients by name of a base parameter, as it is stored. */
export type WeightGradients = ReadonlyMap<string, HostTensor>;

export interface GradientOptions {
  /** Layers whose weights and biases are asked for. Default: all that the config targets. */
  readonly sites?: readonly LayerSite[];
}

export interface CalibrateContext<Config> {
  readonly model: BaseModel;
  readonly sites: readonly LayerSite[];
  readonly config: Config;
  readonly generator: Generator;
  /** The caller's batches, from the first one each time they are iterated; null when the caller gave none. */
  readonly batches: Iterable<Named<HostTensor>> | null;
  /** Runs the base model on a batch: the input of every site, by path, [n, in] (ids of an embedding: [n]). Layers that share their input share the tensor. */
  layerInputs(batch: Named<HostTensor>): Promise<LayerValues>;
  /** In the same way the output of every site, [n, out], its bias included. */
  layerOutputs(batch: Named<HostTensor>): Promise<LayerValues>;
  /**
   * Gradient of the base model's mean loss on a labelled batch by the weight and the bias of every site, in stored layout, zeros where
   * the loss depends on nothing of it. One call at a time; ask for some sites after others to bound memory: a change of sites makes a
   * new program. The model runs as in evaluation: what a gradient says of a weight should follow from weights and batch, and with
   * dropout it would also follow from the masks that happened to be drawn.
   * @throws PeftError `CALIBRATION_LABELS_MISSING` when the batch has no `labels`.
   */
  gradients(batch: Named<HostTensor>, options?: GradientOptions): Promise<WeightGradients>;
  /** For what the user should know although nothing failed: the caller's `onWarning`. */
  readonly warn: Warn;
}

/** What calibration found out. */
export interface Calibration<Config> {
  /** Replaces the user's config, whose targets are then resolved anew: a method may choose layers, ranks or scales by data. */
  readonly config?: Config;
  /** Handed to `init`. */
  readonly values?: unknown;
}

export interface InitContext<Config> extends SiteContext<Config> {
  /** Draws zeros when all parameters are about to be read from a file. */
  readonly generator: Generator;
  /**
   * The values are about to be read from a file: names and shapes must be those that a file holds. What follows from the values that are
   * then read is made by `restore`. Default: false.
   */
  readonly fromFile?: boolean;
  /** The weight in its stored layout (`site.layout`), widened to float32. Must not be written to. */
  readonly weight: HostTensor;
  readonly bias: HostTensor | null;
  /** `values` of the calibration; undefined without one. */
  readonly calibration: unknown;
}

/** What `init` returns for one site. */
export interface InitResult {
  /** Trainable parameters by short name. */
  readonly params: Named<HostTensor>;
  /** Tensors that belong to the adapter but are not trained; tensor functions see them among `params`. */
  readonly buffers?: Named<HostTensor>;
  /** Tensors of a run: `track` and `afterStep` change them, checkpoints hold them, the adapter's file does not. */
  readonly state?: Named<HostTensor>;
  /** A base weight that replaces the model's own while this adapter is active; it is then stored as that is, rounded if need be. */
  readonly weight?: HostTensor;
}

export interface ForwardContext<Config> extends SiteContext<Config> {
  readonly params: Named<tf.Tensor>;
  /** Input of the layer: `[n, in]` (linear) or int32 `[n]` (embedding). */
  readonly x: tf.Tensor2D;
  /** The layer below this adapter, called with whatever input the method chooses: `[n, in]` → `[n, out]`. */
  readonly base: (x: tf.Tensor2D) => tf.Tensor2D;
  /** Nothing lies below: base(x) is the layer itself, x·Wᵀ + b. False when other adapters are active or merged there. */
  readonly innermost: boolean;
  /** The layer's own weight, stored as `site.layout` says, and bias: without what other adapters add or have merged. */
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D | null;
  readonly training: boolean;
  /**
   * Factor of the layer's response, for methods with the capability `ownResponse`. Null when there is none, and for all other methods,
   * whose outputs are scaled instead: y₀ + s·(y₁ − y₀).
   */
  readonly responseScale: tf.Scalar | null;
  /** Identity unless training; every call draws a mask of its own. */
  readonly dropout: (x: tf.Tensor2D, rate: number) => tf.Tensor2D;
}

export interface VirtualTokensContext<Config> extends SiteContext<Config> {
  readonly params: Named<tf.Tensor>;
  readonly training: boolean;
  /** Identity unless training; every call draws a mask of its own. */
  readonly dropout: (x: tf.Tensor2D, rate: number) => tf.Tensor2D;
}

export interface DeltaContext<Config> extends SiteContext<Config> {
  readonly params: Named<tf.Tensor>;
  /** The layer's own weight and bias, as in `forward`. */
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D | null;
  /** What the adapters merged before made of them. */
  readonly below: { readonly weight: tf.Tensor2D; readonly bias: tf.Tensor1D | null };
}

/** What merging adds, in the stored layout of the weight. */
export interface Delta {
  readonly weight: tf.Tensor2D;
  readonly bias?: tf.Tensor1D;
}

export interface PenaltyContext<Config> {
  readonly sites: readonly { readonly site: LayerSite; readonly params: Named<tf.Tensor>; readonly config: Config }[];
  readonly config: Config;
}

/** One site after an update. Buffers are among `params`; only what has a gradient is among `gradients`. */
export interface TrackContext<Config> extends SiteContext<Config> {
  readonly params: Named<tf.Tensor>;
  /** Of this step, clipped. */
  readonly gradients: Named<tf.Tensor>;
  readonly state: Named<tf.Tensor>;
}

/** The tensors of one site in host memory, by short name. */
export interface HostSite<Config> extends SiteContext<Config> {
  /** Parameters and buffers. */
  readonly params: Named<HostTensor>;
  readonly state: Named<HostTensor>;
}

export interface AfterStepContext<Config> {
  /** Optimizer steps done, from 1. */
  readonly step: number;
  /** Optimizer steps of the whole run; null when nobody knows. */
  readonly totalSteps: number | null;
  readonly config: Config;
  /**
   * Live tensors: writing into `data` of a parameter or of state changes the adapter. The buffers among `params` may not be written
   * to: engines keep copies of what is frozen, and would not see it. What changes in a run is state, or a parameter.
   */
  readonly sites: readonly HostSite<Config>[];
}

/** An adapter as a whole. */
export interface AdapterContext<Config> {
  readonly config: Config;
  readonly sites: readonly HostSite<Config>[];
}

export interface FileContext<Config> extends AdapterContext<Config> {
  /** The user asks for the method's own form where it also has one that stands on its own. */
  readonly native: boolean;
}

/** What an adapter's file holds: a config, and the tensors of each site by path and short name. */
export interface FileForm<Config> {
  readonly config: Config;
  readonly params: ReadonlyMap<string, Named<HostTensor>>;
}

/** How a parameter learns otherwise than the rest. What is left out keeps the run's value. */
export interface ParameterGroup {
  /** Multiplies the learning rate. */
  readonly lrScale?: number;
  /** Peak learning rate instead of the run's. */
  readonly learningRate?: number;
  readonly weightDecay?: number;
  /**
   * Multiplies the update of each element, decay included; of a shape that broadcasts to the parameter's. Elements with factor 0 stay
   * exactly as they are.
   */
  readonly elementScale?: HostTensor;
}

export interface ParameterContext<Config> extends SiteContext<Config> {
  /** Short name of the parameter. */
  readonly name: string;
  readonly shape: readonly number[];
}

/** A way of combining adapters, e.g. "linear" or "ties", and its settings; each method says which it knows, and its default. */
export interface CombineOptions {
  readonly type?: string;
  readonly [option: string]: unknown;
}

export interface CombineContext<Config> {
  /** The adapters' configs and weights, in the caller's order. */
  readonly adapters: readonly { readonly config: Config; readonly weight: number }[];
  /** Every site that one of the adapters has; a part is null where that adapter has none. */
  readonly sites: readonly {
    readonly site: LayerSite;
    readonly parts: readonly (HostSite<Config> | null)[];
  }[];
  readonly options: CombineOptions;
}

export interface RestoreContext<Config> extends HostSite<Config> {
  /** The base model's weight in its stored layout (`site.layout`), widened to float32. Must not be written to. */
  readonly weight: HostTensor;
}

/** What several adapters come to, in the form of a file. */
export interface CombinedForm<Config> extends FileForm<Config> {
  /** Whose adapter that is, where it cannot be one of those that were combined. Default: the first one's method. */
  readonly method?: Method;
}

export interface RefitContext<Config> {
  readonly site: LayerSite;
  /** Parameters of another adapter of the method, under its own config. Null when that adapter leaves the site alone. */
  readonly params: Named<HostTensor> | null;
  readonly from: Config;
  /** The config that the result is to work under, and the shapes it must have. */
  readonly to: Config;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
}
