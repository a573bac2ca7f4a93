import type * as tf from "@tensorflow/tfjs-core";
import type { CalibrationData } from "./adapter/calibrate.ts";
import type { Method } from "./method/method.ts";
import type { TrainingPlugin } from "./plugin/plugin.ts";
import type { Named } from "./tensors.ts";
import type { Warn } from "./warnings.ts";

/** The tensors of a program: `model.frozen()` and `model.trainable()`, as tensors. */
export interface ModelTensors {
  readonly frozen: Named<tf.Tensor>;
  readonly trainable: Named<tf.Tensor>;
}

export interface ForwardOptions {
  readonly training: boolean;
  /** int32 [2]: the run's seed and the step. Needed while training with dropout. */
  readonly key?: tf.Tensor1D | undefined;
  /** Blocks keep their inputs alone for the backward pass and run again there: less memory, one more forward pass. */
  readonly recompute?: boolean | undefined;
  /** Index of the first transformer block that learns: nothing before it gets a gradient. Default: 0. */
  readonly learnsFrom?: number | undefined;
  /** What the batch's `response_scale` multiplies. Default: "method". */
  readonly response?: ResponseKind | undefined;
}

/**
 * What a layer's response is: "method" as its method defines it, "output" what it adds to the layer's output, y₁ − y₀. The same for
 * methods that define nothing.
 */
export type ResponseKind = "method" | "output";

export interface AttachPluginOptions<Config extends object> {
  readonly plugin: TrainingPlugin<Config>;
  readonly config?: Partial<Config> | undefined;
}

export interface SetActiveOptions {
  /** Names of the adapters that learn. Default: all active ones. */
  readonly trainable?: readonly string[];
  /** One adapter per row: the batch's `adapter_index` (see `adapterIndex`) says which. For evaluation; nothing learns then. */
  readonly mixed?: boolean;
}

export interface MergeOptions {
  /** Refuse a result with NaN or infinite entries. Default: as `requantize`, since eight bits cannot hold them. */
  readonly safe?: boolean;
  /**
   * Merged weights are stored as the base model stores them, those merged before too: in eight bits with new scales s and the old
   * factors t of the inputs, at most s·t/2 from W + ΔW, or in two bytes. Default false: they are float32, and exact.
   */
  readonly requantize?: boolean;
  /** Default: the active ones. */
  readonly adapters?: readonly string[];
  /** Called after each layer. */
  readonly onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

export interface UnmergeOptions {
  /** Take back the last `merge` alone. Default: all of them. */
  readonly last?: boolean;
}

export interface AttachOptions<Config extends object> {
  readonly name?: string;
  readonly method: Method<Config>;
  readonly config?: Partial<Config> | undefined;
  readonly seed?: number | undefined;
  /** What methods that look at data before they start need. */
  readonly calibration?: CalibrationData | undefined;
  /** Receives what is worth knowing although nothing failed. Default: the console. */
  readonly onWarning?: Warn | undefined;
}
