import type * as tf from "@tensorflow/tfjs-core";
import type { z } from "zod";
import type { LayerSite } from "../model/site.ts";
import type { BaseModel } from "../model/model.ts";
import type { HostTensor, Named } from "../tensors.ts";
import type { Generator } from "../random.ts";
import type { TargetConfig } from "../targeting.ts";

/** What a method can do; the conformance suite checks each claim and each refusal. */
export interface Capabilities {
  /** The change can be added to the base weights: `delta` is given, or the method trains base parameters themselves. */
  readonly merge: boolean;
  /** Several adapters of this method may be active at once. */
  readonly multiAdapter: boolean;
  /** A fresh adapter leaves the model's output unchanged. */
  readonly identityAtStart: boolean;
}

/** How the method is written in files that the Python library reads. */
export interface Wire<Config> {
  /** `peft_type`, upper case. */
  readonly peftType: string;
  /** Key in adapter_config.json of every config field; fields not named here are not written. */
  readonly config: { readonly [K in keyof Config]?: string };
  /** Suffix in the tensor file of every parameter, e.g. `{ down: "down.weight" }`. */
  readonly tensors: Readonly<Record<string, string>>;
  /** Keys written with a fixed value because readers expect them. */
  readonly constants?: Readonly<Record<string, unknown>>;
  /** Whether an adapter_config.json with this `peftType` is this method's own. Default: yes. Several methods may share a type. */
  readonly accepts?: (adapterConfig: Readonly<Record<string, unknown>>) => boolean;
}

export interface SiteContext<Config> {
  readonly site: LayerSite;
  /** The config of this site: per-site overrides are already applied. */
  readonly config: Config;
}

export interface InitContext<Config> extends SiteContext<Config> {
  readonly generator: Generator;
  /** The weight as it is stored (`site.layout`). Must not be written to. */
  readonly weight: HostTensor;
  readonly bias: HostTensor | null;
  readonly calibration: unknown;
}

/** What `init` returns for one site. */
export interface InitResult {
  /** Trainable parameters by short name. */
  readonly params: Named<HostTensor>;
  /** Tensors that belong to the adapter and its file but are not trained; tensor functions see them among `params`. */
  readonly buffers?: Named<HostTensor>;
  /** A base weight that replaces the model's own while this adapter is active. */
  readonly weight?: HostTensor;
}

export interface ForwardContext<Config> extends SiteContext<Config> {
  readonly params: Named<tf.Tensor>;
  /** Input of the layer: `[n, in]` (linear) or int32 `[n]` (embedding). */
  readonly x: tf.Tensor2D;
  /** The layer below this adapter, called with whatever input the method chooses: `[n, in]` → `[n, out]`. */
  readonly base: (x: tf.Tensor2D) => tf.Tensor2D;
  /** Stored weight (`site.layout`) and bias. */
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D | null;
  readonly training: boolean;
  /** Identity unless training; every call draws a mask of its own. */
  readonly dropout: (x: tf.Tensor2D, rate: number) => tf.Tensor2D;
}

export interface DeltaContext<Config> extends SiteContext<Config> {
  readonly params: Named<tf.Tensor>;
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D | null;
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

export interface AfterStepContext<Config> {
  /** Optimizer steps done, from 1. */
  readonly step: number;
  readonly config: Config;
  /** Live parameters: writing into `data` changes the adapter. */
  readonly sites: readonly { readonly site: LayerSite; readonly params: Named<HostTensor> }[];
}

export interface CalibrateContext<Config> {
  readonly model: BaseModel;
  readonly sites: readonly LayerSite[];
  readonly config: Config;
}

/**
 * A method is a value: a schema, wire names, and functions. Tensor functions (`forward`, `delta`, `penalty`) are pure and
 * traceable: they may not read values. Host functions (`init`, `calibrate`, `afterStep`) may.
 */
export interface Method<Config extends object = object> {
  readonly name: string;
  readonly description: string;
  /** npm package that provides the method. */
  readonly package: string;
  readonly config: z.ZodType<Config>;
  readonly wire: Wire<Config>;
  readonly capabilities: Capabilities;
  /** Which layers it attaches to; null when it attaches to none and only trains existing parameters. */
  targets(config: Config): TargetConfig | null;
  /** Config of one site, e.g. after rank and alpha patterns. Default: the config itself. */
  siteConfig?(context: SiteContext<Config>): Config;
  calibrate?(context: CalibrateContext<Config>): Promise<unknown>;
  init?(context: InitContext<Config>): InitResult;
  forward?(context: ForwardContext<Config>): tf.Tensor2D;
  delta?(context: DeltaContext<Config>): Delta;
  /** Base parameters that are trained as they are (a private copy per adapter; the base stays intact). */
  trains?(context: { readonly name: string; readonly targets: readonly LayerSite[]; readonly config: Config }): boolean;
  penalty?(context: PenaltyContext<Config>): tf.Scalar;
  afterStep?(context: AfterStepContext<Config>): void | Promise<void>;
}

/** Keeps the config type of a method; adds nothing at run time. */
export function defineMethod<Config extends object>(method: Method<Config>): Method<Config> {
  return method;
}
