import { PeftError } from "../errors.ts";
import type { BaseModel } from "../model/model.ts";
import type { MergeOptions, UnmergeOptions } from "../modelOptions.ts";
import type { Adapter } from "./adapter.ts";
import { mergeAdapters, requireMergeable } from "./merge.ts";
import { MergeStack } from "./mergeStack.ts";
import { checkNewName, findAdapter } from "./names.ts";
import { bareView, buildMixedView, buildView, ownValue, type View, type ViewState } from "./view.ts";

/** Which adapters apply, in this order, and which of them learn; `mixed`: one of them per row of a batch. */
export interface Selection {
  readonly active: readonly string[];
  readonly trainable: readonly string[];
  readonly mixed: boolean;
}

/** Which adapters a model has, which of them apply, learn and are merged, and the view that follows. Every change is whole or none. */
export class Switching {
  readonly adapters = new Map<string, Adapter>();
  readonly #base: BaseModel;
  readonly #merges = new MergeStack();
  #selection: Selection = { active: [], trainable: [], mixed: false };
  #disabled = 0;
  #view: View | null = null;
  /** The base model alone. */
  #bare: View | null = null;

  constructor(base: BaseModel) {
    this.#base = base;
  }

  get selection(): Selection {
    return this.#selection;
  }

  get enabled(): boolean {
    return this.#disabled === 0;
  }

  get merged(): readonly string[] {
    return this.#merges.names;
  }

  /** What applies now. The same object until something changes. */
  get view(): View {
    if (!this.enabled) return (this.#bare ??= bareView(this.#base));
    const build = this.#selection.mixed ? buildMixedView : buildView;
    return (this.#view ??= build(this.#state()));
  }

  /** The adapters of the view that learn. */
  get learning(): readonly Adapter[] {
    const { trainable, mixed } = this.#selection;
    return mixed ? [] : this.view.active.filter(({ name }) => trainable.includes(name) && !this.merged.includes(name));
  }

  insert(adapter: Adapter): void {
    const { name } = adapter;
    checkNewName(this.adapters, name);
    this.adapters.set(name, adapter);
    if (this.adapters.size > 1) return;
    try {
      this.select({ active: [name], trainable: [name], mixed: false });
    } catch (error) {
      this.adapters.delete(name);
      throw error;
    }
  }

  select(selection: Selection): void {
    for (const name of [...selection.active, ...selection.trainable]) findAdapter(this.adapters, name);
    const idle = selection.trainable.find((name) => !selection.active.includes(name));
    if (idle !== undefined) {
      throw new PeftError(
        "ADAPTER_INACTIVE",
        `The adapter "${idle}" cannot learn: it is not active. Active: ${selection.active.join(", ") || "none"}.`,
      );
    }
    const lost = this.merged.find((name) => !selection.active.includes(name));
    if (lost !== undefined) throw mergedError(lost, "be switched off");
    if (selection.mixed && this.merged[0] !== undefined) throw mergedError(this.merged[0], "be chosen row by row");
    const before = this.#selection;
    this.#assign(selection);
    try {
      this.#view = (selection.mixed ? buildMixedView : buildView)(this.#state());
    } catch (error) {
      this.#assign(before);
      throw error;
    }
  }

  /** Runs `work` on the base model, and switches back when it, or its promise, is done. */
  disable<T>(work: () => T): T {
    const leave = (): void => void this.#disabled--;
    this.#disabled++;
    let result: T;
    try {
      result = work();
    } catch (error) {
      leave();
      throw error;
    }
    if (result instanceof Promise) return result.finally(leave) as T;
    leave();
    return result;
  }

  remove(name: string): Adapter {
    const adapter = findAdapter(this.adapters, name);
    if (this.merged.includes(name)) throw mergedError(name, "be detached");
    const { active, trainable, mixed } = this.#selection;
    const without = (names: readonly string[]): string[] => names.filter((other) => other !== name);
    this.adapters.delete(name);
    const next = [...this.adapters.keys()].sort()[0];
    if (active.join() === name && next !== undefined) this.#assign({ active: [next], trainable: [next], mixed: false });
    else this.#assign({ active: without(active), trainable: without(trainable), mixed });
    return adapter;
  }

  rename(from: string, to: string): void {
    const adapter = findAdapter(this.adapters, from);
    if (from === to) return;
    checkNewName(this.adapters, to);
    const swap = (names: readonly string[]): string[] => names.map((name) => (name === from ? to : name));
    const entries = [...this.adapters.values()].map((other) => (other === adapter ? { ...adapter, name: to } : other));
    this.adapters.clear();
    for (const entry of entries) this.adapters.set(entry.name, entry);
    this.#merges.rename(from, to);
    const { active, trainable, mixed } = this.#selection;
    this.#assign({ active: swap(active), trainable: swap(trainable), mixed });
  }

  merge({ requantize = false, safe = requantize, adapters, onProgress }: MergeOptions): void {
    const { active, trainable, mixed } = this.#selection;
    if (mixed) {
      throw new PeftError(
        "MIXED_UNSUPPORTED",
        "Adapters that are chosen row by row cannot be merged into one weight. Call setActive without `mixed` first.",
      );
    }
    const names = (adapters ?? active).filter((name) => !this.merged.includes(name));
    const chosen = names.map((name) => findAdapter(this.adapters, name));
    chosen.forEach(requireMergeable);
    const before = this.#selection;
    this.select({ active: [...new Set([...active, ...names])], trainable, mixed });
    try {
      const state = this.#state();
      const own = (name: string) => ownValue(state, name);
      const weights = mergeAdapters(chosen, { weights: this.#merges.weights, own, safe, requantize, onProgress });
      if (names.length > 0 || requantize) this.#merges.push({ names, weights });
    } catch (error) {
      this.#assign(before);
      throw error;
    }
    this.#view = null;
  }

  unmerge({ last = false }: UnmergeOptions): void {
    if (last) this.#merges.pop();
    else this.#merges.clear();
    this.#view = null;
  }

  /** Runs `work` and undoes what it selects and merges. */
  trying<T>(work: () => T): T {
    const before = this.#selection;
    try {
      return this.#merges.trying(work);
    } finally {
      this.#assign(before);
    }
  }

  #assign(selection: Selection): void {
    this.#selection = selection;
    this.#view = null;
  }

  #state(): ViewState {
    const { active, trainable } = this.#selection;
    return {
      base: this.#base,
      active: active.map((name) => findAdapter(this.adapters, name)),
      trainable: new Set(trainable),
      merged: new Set(this.merged),
      mergedWeights: this.#merges.weights,
    };
  }
}

function mergedError(name: string, action: string): PeftError {
  return new PeftError("ADAPTER_MERGED", `The adapter "${name}" is merged and cannot ${action}. Call unmerge() first.`);
}
