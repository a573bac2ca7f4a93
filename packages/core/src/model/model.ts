import type * as tf from "@tensorflow/tfjs-core";
import type { Named, StoredTensor } from "../tensors.ts";
import type { LayerSite } from "./site.ts";

/** How a parameter is filled when it is not read from a file. `zeroRow` is a table's padding row: zero at the start. */
export type Initializer =
  { readonly kind: "normal"; readonly std: number; readonly zeroRow?: number } | { readonly kind: "zeros" | "ones" };

export interface ParameterSpec {
  /** Hugging Face's state-dict key. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly init: Initializer;
  /** Name of the parameter that this one shares its memory with. */
  readonly tiedTo?: string;
}

/** What sits on the trunk. */
export type Head =
  | { readonly kind: "sequenceClassification"; readonly labels: readonly string[] }
  | { readonly kind: "regression" }
  | { readonly kind: "maskedLM" }
  /** BERT's own: masked LM, and whether the second segment follows the first. */
  | { readonly kind: "preTraining" }
  | { readonly kind: "none" };

/**
 * What an architecture's function sees while it runs: parameters by name, and layers by path.
 * Going through `linear` and `embedding` is what lets any method attach without the architecture knowing of it.
 */
export interface Forward {
  readonly training: boolean;
  /** Every position of the last block is asked for too, though the head reads some of them only. */
  readonly everyPosition: boolean;
  parameter(name: string): tf.Tensor;
  /** y = x·Wᵀ + b with whatever is attached at `path`. x [..., in] → [..., out]. */
  linear(path: string, x: tf.Tensor): tf.Tensor;
  /** Rows of the table at `path`. ids int32 [...] → [..., dim]. */
  embedding(path: string, ids: tf.Tensor): tf.Tensor;
  /**
   * What the active adapters put in front of every row of the batch. To be asked for once, outside of any block, by an architecture that
   * lists a site of kind `prompt`.
   */
  virtualTokens(): VirtualTokens;
  /** Identity unless training. Every call draws a mask of its own from the step's key. */
  dropout(x: tf.Tensor, rate: number): tf.Tensor;
  /** Scaled dot-product attention with dropout of its probabilities (see `attention`). query [B, h, Tq, d] → [B, h, Tq, d]. */
  attention(inputs: AttentionInputs, options: AttentionSettings): tf.Tensor4D;
  /**
   * run(inputs), whose layers and parameters all lie below `path`: a transformer block. With recomputation, only `inputs` is kept for
   * the backward pass, so every tensor that `run` uses and that is no parameter must be among them; the first one changes with what
   * came before.
   */
  block<T extends tf.Tensor>(path: string, inputs: readonly tf.Tensor[], run: (...inputs: tf.Tensor[]) => T): T;
}

/** The same for all rows of a batch; null where there is none. */
export interface VirtualTokens {
  /** Word embeddings of tokens in front of the batch's own. [n, H] */
  readonly embeddings: tf.Tensor2D | null;
  /** Keys (0) and values (1) of every block, which its queries attend to before those of the tokens. [blocks, 2, m, keyValueFeatures] */
  readonly keysValues: tf.Tensor4D | null;
}

export interface AttentionInputs {
  readonly query: tf.Tensor4D;
  readonly key: tf.Tensor4D;
  readonly value: tf.Tensor4D;
}

export interface AttentionSettings {
  /** Factor of the scores: 1/√d. */
  readonly scale: number;
  /** Added to the scores; broadcasts to [B, h, Tq, Tk]. */
  readonly bias: tf.Tensor | null;
  /** Dropout rate of the probabilities. */
  readonly dropout: number;
}

/** A family of models: pure descriptions and one traceable function. Holds no weights. */
export interface Architecture<Config = unknown> {
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** Prefix of the trunk's parameters in files of a model with a head, e.g. `bert`. */
  readonly basePrefix: string;
  /** Suffixes that a method targets when its user names none. */
  readonly defaultTargets: readonly string[];
  parseConfig(json: unknown): Config;
  parameters(config: Config, head: Head): readonly ParameterSpec[];
  sites(config: Config, head: Head): readonly LayerSite[];
  /** Module paths of the freshly initialised head: trained whenever an adapter is trained. */
  headModules(config: Config, head: Head): readonly string[];
  /** batch: `input_ids`, `attention_mask`, … → `logits`, `last_hidden_state`, … */
  forward(f: Forward, config: Config, head: Head, batch: Named<tf.Tensor>): Named<tf.Tensor>;
}

/** A model in memory: named parameters, the layers methods can attach to, and a traceable forward function. */
export interface BaseModel {
  /** Folder or hub name; written to `base_model_name_or_path`. */
  readonly name: string;
  /** config.json as read, unknown keys included. */
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly modelType: string;
  readonly head: Head;
  /** Some may be stored in one or two bytes a value; `widen` gives the values. */
  readonly parameters: Map<string, StoredTensor>;
  readonly sites: readonly LayerSite[];
  readonly defaultTargets: readonly string[];
  readonly headModules: readonly string[];
  forward(f: Forward, batch: Named<tf.Tensor>): Named<tf.Tensor>;
  /** Mean loss of a batch with `labels` (float32 scalar); rows are weighted by `row_weights` when present. */
  loss(outputs: Named<tf.Tensor>, batch: Named<tf.Tensor>): tf.Scalar;
}

/** The same model with other parameters. */
export function withParameters(base: BaseModel, parameters: Map<string, StoredTensor>): BaseModel {
  const { name, configJson, modelType, head, sites, defaultTargets, headModules } = base;
  return {
    ...{ name, configJson, modelType, head, sites, defaultTargets, headModules, parameters },
    forward: (f, batch) => base.forward(f, batch),
    loss: (outputs, batch) => base.loss(outputs, batch),
  };
}
