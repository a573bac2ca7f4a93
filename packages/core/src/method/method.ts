import type * as tf from "@tensorflow/tfjs-core";
import type { z } from "zod";
import type { BaseModel, VirtualTokens } from "../model/model.ts";
import type { LayerSite } from "../model/site.ts";
import type { TargetConfig } from "../targeting.ts";
import type { HostTensor, Named } from "../tensors.ts";
import type * as contexts from "./contexts.ts";
import type { Interchange } from "./interchange.ts";

export type * from "./contexts.ts";

/**
 * How a method stands to layers whose weights are held in eight bits. "output": it works through the base layer's output alone.
 * "values": it reads, replaces or trains the weights, whose dequantized values it is given. false: it cannot work with those.
 */
export type QuantizedBase = "output" | "values" | false;

/** What a method can do; the conformance suite checks each claim and each refusal. */
export interface Capabilities {
  /** The change can be added to the base weights: `delta` is given, or the method trains base parameters themselves. */
  readonly merge: boolean;
  /** Several adapters of this method may be active at once. */
  readonly multiAdapter: boolean;
  /** A fresh adapter leaves the model's output unchanged. */
  readonly identityAtStart: boolean;
  /** Calibration needs batches of data. Default: false. */
  readonly needsData?: boolean;
  /** `forward` applies `responseScale` itself: its response is not what it adds to the layer's output. Default: false. */
  readonly ownResponse?: boolean;
  /** A function of the method's config where it follows from that. Default: "output". */
  readonly quantizedBase?: QuantizedBase | ((config: never) => QuantizedBase);
}

/** A config field in adapter_config.json: its key, or the key and how the value is written there. */
export type WireField =
  | string
  | {
      readonly key: string;
      readonly write: (value: unknown) => unknown;
      readonly read: (json: unknown) => unknown;
    };

/** How the method is written in files that the Python library reads. */
export interface Wire<Config> {
  /** `peft_type`, upper case. */
  readonly peftType: string;
  /** Key in adapter_config.json of every config field; fields not named here are not written. */
  readonly config: { readonly [K in keyof Config]?: WireField };
  /** Suffix in the tensor file of every parameter and buffer, e.g. `{ down: "down.weight" }`; null: not in the file. */
  readonly tensors: Readonly<Record<string, string | null>>;
  /** Keys written with a fixed value because readers expect them. */
  readonly constants?: Readonly<Record<string, unknown>>;
  /** Keys of `config` that older readers do not know: written when they are set (not null, false or empty), or were in the file. */
  readonly whenSet?: readonly string[];
  /** Keys that change what an adapter computes in a way the method does not offer: a file in which one is set is refused. */
  readonly unsupported?: readonly string[];
  /** Whether an adapter_config.json with this `peftType` is this method's own. Default: yes. Several methods may share a type. */
  readonly accepts?: (adapterConfig: Readonly<Record<string, unknown>>) => boolean;
}

/**
 * A method is a value: a schema, wire names, and functions. Tensor functions (`forward`, `delta`, `penalty`, `track`) are pure and
 * traceable: they may not read values. Host functions (`calibrate`, `init`, `afterStep`, `file`, `combine`,
 * `refit`) may.
 */
export interface Method<Config extends object = object> {
  readonly name: string;
  readonly description: string;
  /** npm package that provides the method. */
  readonly package: string;
  readonly config: z.ZodType<Config>;
  readonly wire: Wire<Config>;
  readonly capabilities: Capabilities;
  /** Other types of adapter file that its adapters can be written as, or read from. */
  readonly interchange?: readonly Interchange<Config>[];
  /** The config with what follows from the model where it says nothing, e.g. targets by architecture. Default: as it is. */
  resolve?(config: Config, model: Pick<BaseModel, "modelType">): Config;
  /** Which layers it attaches to; null when it attaches to none and only trains existing parameters. */
  targets(config: Config): TargetConfig | null;
  /** Config of one site, e.g. after rank and alpha patterns. Default: the config itself. */
  siteConfig?(context: contexts.SiteContext<Config>): Config;
  /** Host: looks at data or weights before `init`. Not called when an adapter is loaded. */
  calibrate?(context: contexts.CalibrateContext<Config>): Promise<contexts.Calibration<Config>>;
  init?(context: contexts.InitContext<Config>): contexts.InitResult;
  forward?(context: contexts.ForwardContext<Config>): tf.Tensor2D;
  delta?(context: contexts.DeltaContext<Config>): contexts.Delta;
  /**
   * Traced: what stands in front of every row of the batch, as embeddings, keys and values, or both. For methods that target the role
   * `prompt`.
   */
  virtualTokens?(context: contexts.VirtualTokensContext<Config>): Partial<VirtualTokens>;
  /** Base parameters that are trained as they are (a private copy per adapter; the base stays intact). */
  trains?(context: { readonly name: string; readonly targets: readonly LayerSite[]; readonly config: Config }): boolean;
  /** Traced: added to the loss while training. */
  penalty?(context: contexts.PenaltyContext<Config>): tf.Scalar;
  /** Traced: the new `state` of a site after an optimizer step, by short name; what is left out stays. */
  track?(context: contexts.TrackContext<Config>): Named<tf.Tensor>;
  afterStep?(context: contexts.AfterStepContext<Config>): void | Promise<void>;
  /** How a parameter learns otherwise than the rest, e.g. at another rate. */
  parameterGroup?(context: contexts.ParameterContext<Config>): contexts.ParameterGroup;
  /** What the file holds. Default: the config, and the parameters and buffers as they are. */
  file?(context: contexts.FileContext<Config>): contexts.FileForm<Config>;
  /**
   * The other way round: a site's parameters and buffers as the method holds them, from those of its file; what is left out is the same
   * in both.
   */
  restore?(context: contexts.RestoreContext<Config>): Named<HostTensor>;
  /** A new adapter from several: its config and parameters. Methods that share the function and the `peftType` may be mixed. */
  combine?(context: contexts.CombineContext<Config>): contexts.CombinedForm<Config>;
  /**
   * Expresses another adapter's parameters under this config, for swapping without new programs. The other adapter may be of any method
   * that shares the function and the `peftType`. Default: the same method, and configs and shapes must agree.
   */
  refit?(context: contexts.RefitContext<Config>): Named<HostTensor>;
}

/** What a method under a config makes of weights in eight bits. */
export function quantizedBase(
  { capabilities: { quantizedBase: claim = "output" } }: Pick<Method, "capabilities">,
  config: object,
): QuantizedBase {
  return typeof claim === "function" ? claim(config as never) : claim;
}

/** Keeps the config type of a method; adds nothing at run time. */
export function defineMethod<Config extends object>(method: Method<Config>): Method<Config> {
  return method;
}
