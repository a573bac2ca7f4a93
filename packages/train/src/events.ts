import type { PluginRecord } from "@peftjs/core";

/** One optimizer step. */
export interface StepEvent {
  /** From 1. */
  readonly step: number;
  readonly totalSteps: number;
  /** Passes over the data done, as a fraction. */
  readonly epoch: number;
  /** Loss of the step's batches, before the update. */
  readonly loss: number;
  /** The part of `loss` that is penalties of methods; absent when no method has one. */
  readonly penalty?: number;
  /** Global gradient norm before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Blocks that learned; absent when no plug-in chooses them. */
  readonly blocks?: readonly number[];
  /** Wall time of the step, without evaluation and saving. */
  readonly milliseconds: number;
  /** Wall time of what plug-ins did before it; absent without plug-ins. */
  readonly pluginMilliseconds?: number;
}

/** A plug-in recorded something before a step. */
export interface PluginEvent {
  /** The step that was about to be done. */
  readonly step: number;
  readonly plugin: string;
  readonly record: PluginRecord;
}

export interface EvaluateEvent {
  readonly step: number;
  readonly epoch: number;
  /** `loss` and the metrics of the task. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Better than every evaluation before. */
  readonly best: boolean;
  readonly milliseconds: number;
}

export interface SaveEvent {
  readonly step: number;
  /** Folder of the checkpoint. */
  readonly path: string;
}

export interface EpochEvent {
  readonly step: number;
  /** Whole passes done. */
  readonly epoch: number;
}

/** Why the run ended. */
export type EndReason = "completed" | "earlyStop" | "aborted";

export interface EndEvent {
  readonly step: number;
  readonly reason: EndReason;
}

export interface StartEvent {
  /** Steps done in an earlier, interrupted run. */
  readonly resumedFrom: number;
  readonly totalSteps: number;
}

export interface TrainerEvents {
  readonly start: StartEvent;
  readonly plugin: PluginEvent;
  readonly step: StepEvent;
  readonly evaluate: EvaluateEvent;
  readonly save: SaveEvent;
  readonly epoch: EpochEvent;
  readonly end: EndEvent;
}

export type EventName = keyof TrainerEvents;
export type Listener<Name extends EventName> = (event: TrainerEvents[Name]) => void;

/** A listener per event it cares for. */
export type Logger = { readonly [Name in EventName]?: Listener<Name> };

/** Typed listeners, called in the order in which they were added. */
export class EventBus {
  readonly #listeners = new Map<EventName, Set<(event: never) => void>>();

  /** Returns a function that removes the listener. */
  on<Name extends EventName>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  add(logger: Logger): void {
    const names: readonly EventName[] = ["start", "plugin", "step", "evaluate", "save", "epoch", "end"];
    for (const name of names) {
      const listener = logger[name];
      if (listener !== undefined) this.on(name, (event) => (listener as (event: unknown) => void)(event));
    }
  }

  emit<Name extends EventName>(name: Name, event: TrainerEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) (listener as Listener<Name>)(event);
  }
}
