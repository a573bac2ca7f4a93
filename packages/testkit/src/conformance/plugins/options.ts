import type { AttachedPlugin, Method, TrainingPlugin } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import type { TrainingConfigInput } from "@peftjs/train";
import type { Tolerance } from "../../close.ts";
import type { Subject } from "../run.ts";
import type { Family } from "../subjects.ts";

/** What to expect of a plug-in. Everything runs on tiny classifiers with four blocks, in runs of a few steps. */
export interface PluginConformanceOptions<Config extends object = object> {
  /**
   * A config under which a run of `steps` steps ends elsewhere than the run without the plug-in. Blocks that are chosen at random: with
   * a seed whose first eight steps go down to every block that the next four do, so that nothing new is made in those.
   */
  readonly config: Partial<Config>;
  /** Another such config: a run under `config` may not go on under it. */
  readonly changed: Partial<Config>;
  /** What it is composed with, one after the other (`subject(method, config)`). Default: a low-rank addition. */
  readonly methods?: readonly Subject[];
  /** What else it is composed with: effect and resumed runs alone, eager, and pausing, compiled. Default: nothing. */
  readonly alsoWith?: readonly Subject[];
  /** Other plug-ins that are in use in all runs, those without the plug-in included. Default: none. */
  readonly beside?: readonly AttachedPlugin[];
  /** Training options of all runs, over AdamW at a constant rate of 1e-2, clipped to a norm of 1. */
  readonly training?: TrainingConfigInput;
  /** Optimizer steps of a run, at least 4 and at most 12. Default: 6. */
  readonly steps?: number;
  /**
   * Steps, ascending, from which an interrupted run goes on, e.g. before, at and after a refresh or an update. Default: 1 and half of
   * the steps.
   */
  readonly interruptedAfter?: readonly number[];
  /** Settings under which it changes nothing. Empty where it always has an effect. */
  readonly neutral: readonly NeutralCase<Config>[];
  /** What has to be refused. */
  readonly refuses?: readonly RefusedCase<Config>[];
  /**
   * Changes of the config under which a difference of rounding stays one, for comparisons within a tolerance, whose runs are SGD for
   * that reason: a rule that divides by the gradient's own size makes a whole step of nothing. Default: none is needed.
   */
  readonly smooth?: Partial<Config>;
  /** Whether the gradients of a step may come from several micro-batches. False: not compared. Default: true. */
  readonly accumulates?: boolean;
  /** Whether gradients may be clipped. False: `training` has to say so, and it is not compared. Default: true. */
  readonly clips?: boolean;
  /** Programs that it needs besides those of a plain run and one for each lowest learning block. Default: 4. */
  readonly programs?: number;
}

/** A setting under which a run with the plug-in is the run without it. */
export interface NeutralCase<Config extends object = object> {
  readonly name: string;
  readonly config: Partial<Config>;
  /** Of both runs, over those of the suite. */
  readonly training?: TrainingConfigInput;
  /** Of losses and parameters. Default: bit for bit. */
  readonly tolerance?: Tolerance;
}

/** A combination that makes no sense: a `PeftError` with this code, before the first step. */
export interface RefusedCase<Config extends object = object> {
  readonly name: string;
  readonly config?: Partial<Config>;
  /** Default: the first of the suite. Several are used together. */
  readonly methods?: readonly Subject[];
  readonly training?: TrainingConfigInput;
  /** Blocks of the model. Default: 4. */
  readonly blocks?: number;
  readonly code: string;
  /** What the message tells the user to do. */
  readonly remedy: RegExp;
}

export interface PluginSuite extends PluginConformanceOptions {
  readonly plugin: TrainingPlugin;
  readonly methods: readonly Subject[];
  readonly steps: number;
}

/** What one check runs on. */
export interface PluginSetting {
  readonly suite: PluginSuite;
  /** The method that the plug-in is composed with. */
  readonly subject: Subject;
  readonly family: Family;
  readonly engine: Engine;
  /** Makes new empty folders. */
  readonly folder: () => string;
}

/** One `use`. */
export type Use = Subject | AttachedPlugin;

/** What is in use without the plug-in. */
export function beneath({ suite: { beside = [] }, subject }: PluginSetting): readonly Use[] {
  return [subject, ...beside];
}

/** The plug-in under the suite's config. */
export function used({ plugin, config }: PluginSuite, changes: object = {}): AttachedPlugin {
  return { plugin, config: { ...config, ...changes } };
}

/** A method under a config, for `methods`. */
export function subject<Config extends object>(method: Method<Config>, config: Partial<Config> = {}): Subject {
  return { method: method as unknown as Method, config: config as Readonly<Record<string, unknown>> };
}
