import * as tf from "@tensorflow/tfjs-core";
import { createAdapter, hostSite, type Adapter } from "./adapter/adapter.ts";
import { checkNewName, findAdapter } from "./adapter/names.ts";
import { mergeAdapters, requireMergeable } from "./adapter/merge.ts";
import { adapterPenalties } from "./adapter/penalties.ts";
import { parameterGroup, readState, tracks, trackState, writeState, type TrackTensors } from "./adapter/tracking.ts";
import { buildView, ownValue, writeSlots, type View } from "./adapter/view.ts";
import { PeftError } from "./errors.ts";
import { ensureTfjs } from "./gradients.ts";
import type { Method, ParameterGroup } from "./method/method.ts";
import { LayeredForward } from "./model/layeredForward.ts";
import { withParameters, type BaseModel } from "./model/model.ts";
import type { LayerSite } from "./model/site.ts";
import type { AttachOptions, ForwardOptions, MergeOptions, ModelTensors, SetActiveOptions } from "./modelOptions.ts";
import { countParameters, formatTrainableReport, type TrainableReport } from "./report.ts";
import type { HostTensor, Named, StoredTensor } from "./tensors.ts";

/**
 * A base model and its adapters. The base is never written to: switching adapters, disabling, merging and unmerging are exact.
 * Values live in host memory; `forward` and `loss` are traceable functions of tensors made from them.
 */
export class PeftModel {
  readonly base: BaseModel;
  readonly #adapters = new Map<string, Adapter>();
  readonly #sites: ReadonlyMap<string, LayerSite>;
  #active: readonly string[] = [];
  #trainable: readonly string[] = [];
  #disabled = 0;
  #merged = new Set<string>();
  #mergedWeights = new Map<string, HostTensor>();
  #view: View | null = null;

  constructor(base: BaseModel) {
    ensureTfjs();
    this.base = base;
    this.#sites = new Map(base.sites.map((site) => [site.path, site]));
  }

  /** All attached adapters by name. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.#adapters;
  }

  /** Names of the active adapters, in the order in which their changes apply. */
  get active(): readonly string[] {
    return this.#active;
  }

  get merged(): readonly string[] {
    return [...this.#merged];
  }

  /** Changes whenever a program traced earlier no longer fits; equal again when the earlier state is restored. */
  get structure(): string {
    return this.#current().structure;
  }

  /**
   * Adds an adapter; it becomes active when it is the first one.
   * @throws PeftError `ADAPTER_EXISTS`, `ADAPTER_NAME_INVALID`, `CONFIG_INVALID`, `TARGET_NOT_FOUND`, `MODULE_UNKNOWN`.
   */
  async attach<Config extends object>({
    name = "default",
    method,
    config,
    seed,
    calibration,
  }: AttachOptions<Config>): Promise<Adapter> {
    checkNewName(this.#adapters, name);
    const options = { name, method: method as unknown as Method, config, seed, calibration };
    const adapter = await createAdapter(this.base, options);
    this.insert(adapter);
    return adapter;
  }

  /** Adds an adapter that was created for this base model; it becomes active when it is the first one. */
  insert(adapter: Adapter): void {
    checkNewName(this.#adapters, adapter.name);
    this.#adapters.set(adapter.name, adapter);
    if (this.#adapters.size === 1) this.setActive([adapter.name]);
  }

  /**
   * Chooses the adapters that apply, in this order, and which of them learn (default: all of them). An empty list: the base model.
   * @throws PeftError `ADAPTER_UNKNOWN`, `ADAPTER_CONFLICT` (adapters that exclude each other), `ADAPTER_MERGED`.
   */
  setActive(names: string | readonly string[], { trainable }: SetActiveOptions = {}): void {
    const wanted = [...new Set(typeof names === "string" ? [names] : names)];
    const learning = trainable ?? wanted;
    for (const name of [...wanted, ...learning]) findAdapter(this.#adapters, name);
    const lost = [...this.#merged].find((name) => !wanted.includes(name));
    if (lost !== undefined) throw mergedError(lost, "be switched off");
    const before = { active: this.#active, trainable: this.#trainable };
    this.#assign({ active: wanted, trainable: learning });
    try {
      buildView(this.#state(wanted));
    } catch (error) {
      this.#assign(before);
      throw error;
    }
  }

  /** Runs `work` on the base model alone, merged adapters included, and switches back, also after an error. */
  disable<T>(work: () => T): T {
    const leave = (): void => {
      this.#disabled--;
      this.#view = null;
    };
    this.#disabled++;
    this.#view = null;
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

  /** Removes an adapter. When it was the only active one, the first remaining (by name) becomes active. */
  detach(name: string): Adapter {
    const adapter = findAdapter(this.#adapters, name);
    if (this.#merged.has(name)) throw mergedError(name, "be detached");
    const remaining = this.#active.filter((other) => other !== name);
    this.#adapters.delete(name);
    const next = [...this.#adapters.keys()].sort()[0];
    const active = remaining.length > 0 || next === undefined || !this.#active.includes(name) ? remaining : [next];
    this.#assign({
      active,
      trainable: remaining.length > 0 ? this.#trainable.filter((other) => other !== name) : active,
    });
    return adapter;
  }

  rename(from: string, to: string): void {
    const adapter = findAdapter(this.#adapters, from);
    if (from === to) return;
    checkNewName(this.#adapters, to);
    const swap = (names: Iterable<string>): string[] => [...names].map((name) => (name === from ? to : name));
    const entries = [...this.#adapters.values()].map((other) => (other === adapter ? { ...adapter, name: to } : other));
    this.#adapters.clear();
    for (const entry of entries) this.#adapters.set(entry.name, entry);
    this.#merged = new Set(swap(this.#merged));
    this.#assign({ active: swap(this.#active), trainable: swap(this.#trainable) });
  }

  /** Values that do not learn now, by key. The same object until the structure changes. */
  frozen(): Named<StoredTensor> {
    return this.#current().frozen;
  }

  /** Values that learn now, by key: `<adapter>.<layer path>.<short name>` and `<adapter>.<base parameter>`. */
  trainable(): Named<HostTensor> {
    return Object.fromEntries([...this.#current().slots].map(([key, slot]) => [key, slot.read()]));
  }

  /** Stores new values under keys of `trainable()`; other keys keep theirs. The tensors are kept, not copied. */
  setTrainable(values: Named<HostTensor>): void {
    writeSlots(this.#current(), values);
  }

  /** Traceable: the model's outputs for tensors made from `frozen()` and `trainable()`. */
  forward({ frozen, trainable }: ModelTensors, batch: Named<tf.Tensor>, options: ForwardOptions): Named<tf.Tensor> {
    const view = this.#current();
    return this.base.forward(
      new LayeredForward({ sites: this.#sites, view, tensors: [trainable, frozen], ...options }),
      batch,
    );
  }

  /** Traceable: mean loss of a batch; while training, plus the penalties of the adapters that learn. */
  loss(tensors: ModelTensors, batch: Named<tf.Tensor>, options: ForwardOptions): tf.Scalar {
    const loss = this.base.loss(this.forward(tensors, batch, options), batch);
    if (!options.training) return loss;
    return this.penalties(tensors).reduce((sum, penalty) => tf.add(sum, penalty), loss);
  }

  /** Traceable: the penalties of the adapters that learn, one per adapter whose method has one. */
  penalties({ frozen, trainable }: ModelTensors): tf.Scalar[] {
    return adapterPenalties(this.#current(), { learns: (name) => this.#learns(name), tensors: [trainable, frozen] });
  }

  /** Host: lets the methods that learn act after an optimizer step (from 1) of a run. Call it after `setTrainable`. */
  async afterStep(step: number, totalSteps: number | null = null): Promise<void> {
    for (const adapter of this.#learning()) {
      const sites = adapter.layers.map((layer) => hostSite(adapter, layer));
      await adapter.method.afterStep?.({ step, totalSteps, config: adapter.config, sites });
    }
  }

  /** Whether methods that learn have a `track`, to be called between an update and `afterStep`. */
  get tracks(): boolean {
    return tracks(this.#learning());
  }

  /** What the methods that learn keep from step to step, by key `<adapter>.<layer path>.<short name>`: live tensors. */
  state(): Named<HostTensor> {
    return readState(this.#learning());
  }

  /** Stores state under keys of `state()`; other keys keep theirs. The tensors are kept, not copied. */
  setState(values: Named<HostTensor>): void {
    writeState(this.#learning(), values);
  }

  /** Traceable: the state that an optimizer step changes, by key of `state()`, from updated parameters and the step's gradients. */
  track(tensors: TrackTensors): Named<tf.Tensor> {
    return trackState(this.#learning(), tensors);
  }

  /** How the method of a parameter (a key of `trainable()`) wants it to learn; empty where it says nothing. */
  parameterGroup(name: string): ParameterGroup {
    return parameterGroup(this.#learning(), name);
  }

  /**
   * Folds adapters into the weights of their layers: W + ΔW. Already merged ones are left alone; others become active.
   * The originals are kept, so that `unmerge` restores every bit.
   * @throws PeftError `MERGE_UNSUPPORTED`, or `MERGE_NOT_FINITE` when `safe`; nothing is merged then.
   */
  merge({ safe = false, adapters = this.#active }: MergeOptions = {}): void {
    const chosen = adapters.filter((name) => !this.#merged.has(name)).map((name) => findAdapter(this.#adapters, name));
    chosen.forEach(requireMergeable);
    const before = { active: this.#active, trainable: this.#trainable };
    this.setActive([...new Set([...this.#active, ...adapters])], { trainable: this.#trainable });
    try {
      const state = this.#state(this.#active);
      const own = (name: string): StoredTensor => ownValue(state, name);
      this.#mergedWeights = mergeAdapters(chosen, { weights: this.#mergedWeights, own, safe });
    } catch (error) {
      this.#assign(before);
      throw error;
    }
    for (const { name } of chosen) this.#merged.add(name);
    this.#view = null;
  }

  /** Takes all merged adapters out of the weights again; they stay active. */
  unmerge(): void {
    this.#mergedWeights = new Map();
    this.#merged.clear();
    this.#view = null;
  }

  /**
   * A base model of its own with the active adapters merged and their saved modules in place. This model stays as it is.
   * @throws PeftError as `merge`.
   */
  mergeAndUnload({ safe = false, adapters = this.#active }: MergeOptions = {}): BaseModel {
    const before = {
      active: this.#active,
      trainable: this.#trainable,
      merged: this.#merged,
      weights: this.#mergedWeights,
    };
    this.#merged = new Set(before.merged);
    try {
      this.merge({ safe, adapters });
      return withParameters(
        this.base,
        new Map([...this.base.parameters.keys()].map((name) => [name, this.#effective(name)])),
      );
    } finally {
      this.#merged = before.merged;
      this.#mergedWeights = before.weights;
      this.#assign(before);
    }
  }

  trainableReport(): TrainableReport {
    return countParameters(this.base, {
      adapters: this.#adapters.values(),
      trainable: Object.values(this.trainable()),
    });
  }

  /** Prints the report in one line, as the Python library does. */
  printTrainableParameters(): void {
    // Printing is what this method is for.
    // eslint-disable-next-line no-console
    console.log(formatTrainableReport(this.trainableReport()));
  }

  #learning(): Adapter[] {
    return this.#current().active.filter(({ name }) => this.#learns(name));
  }

  #learns(name: string): boolean {
    return this.#trainable.includes(name) && !this.#merged.has(name);
  }

  #effective(name: string): StoredTensor {
    const view = this.#current();
    const key = view.keys.get(name) ?? name;
    return (view.slots.get(key)?.read() ?? view.frozen[key]) as StoredTensor;
  }

  #assign({ active, trainable }: { readonly active: readonly string[]; readonly trainable: readonly string[] }): void {
    this.#active = active;
    this.#trainable = trainable;
    this.#view = null;
  }

  #state(active: readonly string[]): Parameters<typeof buildView>[0] {
    return {
      base: this.base,
      active: active.map((name) => findAdapter(this.#adapters, name)),
      trainable: new Set(this.#trainable),
      merged: this.#merged,
      mergedWeights: this.#mergedWeights,
    };
  }

  #current(): View {
    if (this.#view === null) {
      const state = this.#state(this.#disabled > 0 ? [] : this.#active);
      this.#view = buildView(this.#disabled > 0 ? { ...state, mergedWeights: new Map() } : state);
    }
    return this.#view;
  }
}

function mergedError(name: string, action: string): PeftError {
  return new PeftError("ADAPTER_MERGED", `The adapter "${name}" is merged and cannot ${action}. Call unmerge() first.`);
}
