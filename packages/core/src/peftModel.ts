import * as tf from "@tensorflow/tfjs-core";
import { createAdapter, hostSite, type Adapter } from "./adapter/adapter.ts";
import { adapterIndex, adapterScale, mixedIndex, runTimeScales } from "./adapter/batchEntries.ts";
import { checkNewName } from "./adapter/names.ts";
import { adapterPenalties } from "./adapter/penalties.ts";
import { Switching } from "./adapter/switching.ts";
import { parameterGroup, readState, tracks, trackState, writeState, type TrackTensors } from "./adapter/tracking.ts";
import { writeSlots } from "./adapter/view.ts";
import { ensureTfjs } from "./gradients.ts";
import type { Method, ParameterGroup } from "./method/method.ts";
import { LayeredForward } from "./model/layeredForward.ts";
import { withParameters, type BaseModel } from "./model/model.ts";
import type { LayerSite } from "./model/site.ts";
import type {
  AttachOptions,
  ForwardOptions,
  MergeOptions,
  ModelTensors,
  SetActiveOptions,
  UnmergeOptions,
} from "./modelOptions.ts";
import { Plugins } from "./plugin/plugins.ts";
import { countParameters, formatTrainableReport, type TrainableReport } from "./report.ts";
import { layerStatus, modelStatus, type LayerStatus, type ModelStatus } from "./status.ts";
import type { HostTensor, Named, StoredTensor } from "./tensors.ts";

/**
 * A base model and its adapters. The base is never written to: switching adapters, disabling, merging and unmerging are exact.
 * Values live in host memory; `forward` and `loss` are traceable functions of tensors made from them.
 */
export class PeftModel {
  readonly base: BaseModel;
  /** What steers its training. */
  readonly plugins: Plugins;
  readonly #switching: Switching;
  readonly #sites: ReadonlyMap<string, LayerSite>;

  constructor(base: BaseModel) {
    ensureTfjs();
    this.base = base;
    this.#switching = new Switching(base);
    this.plugins = new Plugins(base, this.#switching);
    this.#sites = new Map(base.sites.map((site) => [site.path, site]));
  }

  /** All attached adapters by name. */
  get adapters(): ReadonlyMap<string, Adapter> {
    return this.#switching.adapters;
  }

  /** Names of the active adapters, in the order in which their changes apply. */
  get active(): readonly string[] {
    return this.#switching.selection.active;
  }

  /** Names of the active adapters that learn. */
  get learning(): readonly string[] {
    return this.#switching.learning.map(({ name }) => name);
  }

  /** Names of the merged adapters, in the order in which they were merged. */
  get merged(): readonly string[] {
    return this.#switching.merged;
  }

  /** Changes whenever a program traced earlier no longer fits; equal again when the earlier state is restored. */
  get structure(): string {
    return this.#switching.view.structure;
  }

  /**
   * Adds an adapter; it becomes active when it is the first one.
   * @throws PeftError `ADAPTER_EXISTS`, `ADAPTER_NAME_INVALID`, `CONFIG_INVALID`, `TARGET_NOT_FOUND`, `MODULE_UNKNOWN`,
   * `QUANTIZED_UNSUPPORTED` (a method that cannot do with weights in eight bits).
   */
  async attach<Config extends object>({
    name = "default",
    method,
    ...options
  }: AttachOptions<Config>): Promise<Adapter> {
    checkNewName(this.adapters, name);
    const adapter = await createAdapter(this.base, { ...options, name, method: method as unknown as Method });
    this.insert(adapter);
    return adapter;
  }

  /** Adds an adapter that was created for this base model; it becomes active when it is the first one. */
  insert(adapter: Adapter): void {
    this.#switching.insert(adapter);
  }

  /**
   * Chooses the adapters that apply, in this order, and which of them learn (default: all of them). An empty list: the base model.
   * With `mixed`, each row of a batch has one of them, which the batch's `adapter_index` names: one program serves every choice.
   * @throws PeftError `ADAPTER_UNKNOWN`, `ADAPTER_CONFLICT` (adapters that exclude each other), `ADAPTER_MERGED`.
   */
  setActive(names: string | readonly string[], { trainable, mixed = false }: SetActiveOptions = {}): void {
    const active = [...new Set(typeof names === "string" ? [names] : names)];
    this.#switching.select({ active, trainable: trainable ?? active, mixed });
  }

  /** Chooses which of the active adapters learn; the others stay active as they are. */
  setLearning(names: string | readonly string[]): void {
    const { active, mixed } = this.#switching.selection;
    this.#switching.select({ active, mixed, trainable: typeof names === "string" ? [names] : names });
  }

  /**
   * The `adapter_index` of a mixed batch, int32 [B]: the place among `active` of each row's adapter, −1 for "__base__".
   * @throws PeftError `ADAPTER_INACTIVE`.
   */
  adapterIndex(names: readonly string[]): HostTensor {
    return adapterIndex(names, this.active);
  }

  /**
   * The `adapter_scale` of a batch, float32 [active adapters]: what the named adapters add to their layers counts that many times,
   * y = base + c·(adapter(x) − base). Saved modules and trained rows are not scaled. One program serves all factors.
   * @throws PeftError `ADAPTER_INACTIVE`, `SCALE_INVALID`.
   */
  adapterScale(factors: Readonly<Record<string, number>>): HostTensor {
    return adapterScale(factors, this.active);
  }

  /** Runs `work` on the bare base model, without merged adapters too, and switches back, also after an error. */
  disable<T>(work: () => T): T {
    return this.#switching.disable(work);
  }

  /**
   * Removes an adapter. When it was the only active one, the first remaining (by name) becomes active.
   * @throws PeftError `ADAPTER_UNKNOWN`, `ADAPTER_MERGED`.
   */
  detach(name: string): Adapter {
    return this.#switching.remove(name);
  }

  /** @throws PeftError `ADAPTER_UNKNOWN`, `ADAPTER_EXISTS`, `ADAPTER_NAME_INVALID`. */
  rename(from: string, to: string): void {
    this.#switching.rename(from, to);
  }

  /** To be called when tensors of an adapter were exchanged outside of `setTrainable`. `structure` stays. */
  refresh(): void {
    this.#switching.select(this.#switching.selection);
  }

  /** Values that do not learn now, by key. The same object until the structure changes. */
  frozen(): Named<StoredTensor> {
    return this.#switching.view.frozen;
  }

  /** Values that learn now, by key: `<adapter>.<layer path>.<short name>` and `<adapter>.<base parameter>`. */
  trainable(): Named<HostTensor> {
    return Object.fromEntries([...this.#switching.view.slots].map(([key, slot]) => [key, slot.read()]));
  }

  /** Stores new values under keys of `trainable()`; other keys keep theirs. The tensors are kept, not copied. */
  setTrainable(values: Named<HostTensor>): void {
    writeSlots(this.#switching.view, values);
  }

  /** Traceable: the model's outputs for tensors made from `frozen()` and `trainable()`. */
  forward({ frozen, trainable }: ModelTensors, batch: Named<tf.Tensor>, options: ForwardOptions): Named<tf.Tensor> {
    const { view } = this.#switching;
    const steered = {
      adapterIndex: mixedIndex(batch, { view, training: options.training }),
      ...runTimeScales(batch, { view, merged: this.merged, blocks: this.plugins.blocks }),
    };
    return this.base.forward(
      new LayeredForward({ sites: this.#sites, view, tensors: [trainable, frozen], ...steered, ...options }),
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
    return adapterPenalties(this.#switching, [trainable, frozen]);
  }

  /** Host: lets the methods that learn act after an optimizer step (from 1) of a run. Call it after `setTrainable`. */
  async afterStep(step: number, totalSteps: number | null = null): Promise<void> {
    for (const adapter of this.#switching.learning) {
      const sites = adapter.layers.map((layer) => hostSite(adapter, layer));
      await adapter.method.afterStep?.({ step, totalSteps, config: adapter.config, sites });
    }
  }

  /** Whether methods that learn have a `track`, to be called between an update and `afterStep`. */
  get tracks(): boolean {
    return tracks(this.#switching.learning);
  }

  /** What the methods that learn keep from step to step, by key `<adapter>.<layer path>.<short name>`: live tensors. */
  state(): Named<HostTensor> {
    return readState(this.#switching.learning);
  }

  /** Stores state under keys of `state()`; other keys keep theirs. The tensors are kept, not copied. */
  setState(values: Named<HostTensor>): void {
    writeState(this.#switching.learning, values);
  }

  /** Traceable: the state that an optimizer step changes, by key of `state()`, from updated parameters and the step's gradients. */
  track(tensors: TrackTensors): Named<tf.Tensor> {
    return trackState(this.#switching.learning, tensors);
  }

  /** How its method and the plug-ins want a parameter (a key of `trainable()`) to learn; empty where they say nothing. */
  parameterGroup(name: string): ParameterGroup {
    return this.plugins.group(name, parameterGroup(this.#switching.learning, name));
  }

  /**
   * Folds adapters into the weights of their layers: W + ΔW. Already merged ones are left alone; others become active. Merges stack:
   * each works on what the ones before left. Stored weights are widened for it, and the result is float32 unless `requantize` is set.
   * The originals are kept, so that `unmerge` restores every bit.
   * @throws PeftError `MERGE_UNSUPPORTED`, or `MERGE_NOT_FINITE` when `safe` or `requantize`; nothing is merged then.
   */
  merge(options: MergeOptions = {}): void {
    this.#switching.merge(options);
  }

  /** Takes all merged adapters, or those of the last `merge`, out of the weights again; they stay active. */
  unmerge(options: UnmergeOptions = {}): void {
    this.#switching.unmerge(options);
  }

  /**
   * A base model of its own with the active adapters, or those that are named, merged and their saved modules in place. What is
   * merged already stays in. This model stays as it is.
   * @throws PeftError as `merge`.
   */
  mergeAndUnload({ adapters = this.active, ...options }: MergeOptions = {}): BaseModel {
    return this.#switching.trying(() => {
      const wanted = new Set([...this.merged, ...adapters]);
      this.setActive([...new Set([...this.active, ...wanted])].filter((name) => wanted.has(name)));
      this.merge(options);
      const { keys, frozen, slots } = this.#switching.view;
      return this.#withValues((name) => {
        const key = keys.get(name) as string;
        return (slots.get(key)?.read() ?? frozen[key]) as StoredTensor;
      });
    });
  }

  /** A base model of its own without what the methods changed, and with the saved modules of the active adapters in place. */
  unload(): BaseModel {
    const active = this.active.map((name) => this.adapters.get(name) as Adapter);
    return this.#withValues((name, value) => {
      const owner = active.findLast(({ overrides }) => overrides.get(name)?.kind === "saved");
      return owner?.overrides.get(name)?.tensor ?? value;
    });
  }

  /** What learns, what there is, and the sizes of each adapter. */
  trainableReport(): TrainableReport {
    return countParameters(this.base, { adapters: this.adapters.values(), view: this.#switching.view });
  }

  /** Every place of the model that adapters have something at, and their state there. */
  layerStatus(): LayerStatus[] {
    return layerStatus(this.base, this.#switching);
  }

  /** The state of the model as a whole. */
  status(): ModelStatus {
    return modelStatus(this.base, this.#switching);
  }

  /** Prints the report in one line, as the Python library does. */
  printTrainableParameters(): void {
    // Printing is what this method is for.
    // eslint-disable-next-line no-console
    console.log(formatTrainableReport(this.trainableReport()));
  }

  #withValues(value: (name: string, own: StoredTensor) => StoredTensor): BaseModel {
    const { parameters } = this.base;
    return withParameters(this.base, new Map([...parameters].map(([name, own]) => [name, value(name, own)])));
  }
}
