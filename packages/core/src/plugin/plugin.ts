import type { z } from "zod";
import type { ParameterGroup } from "../method/contexts.ts";
import type { ResponseKind } from "../modelOptions.ts";
import type { LayerSite } from "../model/site.ts";
import type { Warn } from "../warnings.ts";
import type { ParameterRule } from "./parameterRule.ts";

/** A value that learns, as plug-ins see it. */
export interface TrainableParameter {
  /** Key of `PeftModel.trainable()`. */
  readonly key: string;
  readonly shape: readonly number[];
  /** Name of the adapter that it belongs to. */
  readonly adapter: string;
  /** The layer that it belongs to, and so its role; null outside of layers, as for norms. */
  readonly site: LayerSite | null;
  /** Short name that the method gave it; null for a base parameter that is trained as it is. */
  readonly name: string | null;
  /** Name of the base parameter that is trained as it is; null for a method's own. */
  readonly base: string | null;
  /** Whether it belongs to the task head. */
  readonly head: boolean;
  /** Whether it is known to come after all blocks, as the head and a pooler do: no gradient needs to pass a block for it. */
  readonly afterBlocks: boolean;
  /** Index of the transformer block that it lies in; null outside of them. */
  readonly block: number | null;
}

/**
 * What steers training instead of layers, composed with any method by `use`. A plug-in is a value; what changes in a run is kept by what
 * `start` returns.
 */
export interface TrainingPlugin<Config extends object = object> {
  readonly name: string;
  readonly description: string;
  /** npm package that provides the plug-in. */
  readonly package: string;
  readonly config: z.ZodType<Config>;
  /** What only one plug-in of a run may decide, e.g. "blocks": two with the same word exclude each other. */
  readonly exclusive?: string;
  /** How a parameter learns otherwise than the rest. `lrScale` of several plug-ins and of its method multiply; of the rest the last counts. */
  parameterGroup?(parameter: TrainableParameter, config: Config): ParameterGroup;
  /** A parameter's own update in place of the run's optimizer; null leaves it to that. */
  parameterRule?(parameter: TrainableParameter, config: Config): ParameterRule | null;
  /** Once per run. Throws what makes no sense with this model. */
  start?(context: PluginContext<Config>): PluginRun;
  /** Files about a finished run, by name, from everything that was recorded. */
  report?(records: readonly PluginRecord[], config: Config): Readonly<Record<string, string>>;
}

/** An entry that a plug-in recorded, as JSON. */
export interface PluginRecord {
  /** Optimizer step that it was recorded before, from 1. */
  readonly step: number;
  readonly [field: string]: unknown;
}

/** A plug-in of a model, with the config that it runs under. */
export interface AttachedPlugin {
  readonly plugin: TrainingPlugin;
  readonly config: object;
}

export interface PluginContext<Config extends object> {
  readonly config: Config;
  /** Everything that learns. */
  readonly parameters: readonly TrainableParameter[];
  readonly sites: readonly LayerSite[];
  /** Number of transformer blocks. */
  readonly blocks: number;
  /** Blocks in which an adapter that learns adds something to a layer's output, which `responseScale` reaches. */
  readonly responsive: ReadonlySet<number>;
  /** What `state` returned in the interrupted run that goes on; undefined at the beginning of a run. */
  readonly state: unknown;
  readonly tools: PluginTools;
}

/** What a trainer does for a plug-in. */
export interface PluginTools {
  /** Mean loss as in evaluation: without dropout, penalties and gradients. Changes nothing. */
  loss(options: PluginLossOptions): Promise<number>;
  /** Keeps an entry with the run, for `report`. In `start`, only where `state` is undefined: a resumed run has the entry already. */
  record(entry: Readonly<Record<string, unknown>>): void;
  readonly warn: Warn;
}

export interface PluginLossOptions {
  /** Where the rows come from. */
  readonly source: "train" | "validation";
  /** Batch of them, counted from 0 through all passes; which rows that are follows from it alone. */
  readonly index: number;
  /** Rows of the batch. A source that cannot be divided anew has its own number. */
  readonly rows: number;
  /** Factor of what adapters add, by block of the model. Default: 1. */
  readonly responseScale?: readonly number[];
  /** Default: "method". */
  readonly response?: ResponseKind;
}

/** A plug-in during one run. */
export interface PluginRun {
  /** False: all blocks learn in every step, and steps are those of a run without the plug-in, bit for bit. Default: false. */
  readonly choosesBlocks?: boolean;
  /** Host, before optimizer step `step` (from 1). */
  beforeStep?(step: number): StepChoice | Promise<StepChoice>;
  /** What the following steps depend on, as JSON: kept in checkpoints. Called between steps. */
  state?(): unknown;
}

/** What a plug-in decides for one step. */
export interface StepChoice {
  /** Blocks that learn; parameters outside of the blocks always do. Default: all. */
  readonly blocks?: readonly number[] | undefined;
}

/** Keeps the config type of a plug-in; adds nothing at run time. */
export function defineTrainingPlugin<Config extends object>(plugin: TrainingPlugin<Config>): TrainingPlugin<Config> {
  return plugin;
}
