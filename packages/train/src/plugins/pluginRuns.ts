import { PeftError } from "@peftjs/core";
import type { AttachedPlugin, PluginRun, Plugins, Warn } from "@peftjs/core";
import type { EventBus, PluginEvent } from "../events.ts";
import { PlanLoss } from "./planLoss.ts";
import type { PlanLossOptions } from "./planLoss.ts";

export interface PluginRunsOptions extends PlanLossOptions {
  readonly plugins: Plugins;
  readonly events: EventBus;
  readonly warn: Warn;
}

type StartedPlugin = AttachedPlugin & { readonly run: PluginRun };

/** The plug-ins of a model during one run: what they decide, keep and record. */
export class PluginRuns {
  readonly #options: PluginRunsOptions;
  readonly #loss: PlanLoss;
  #runs: readonly StartedPlugin[] = [];
  #records: PluginEvent[] = [];
  /** Records that nobody was told of: those of `start`. Null when they are told at once. */
  #unannounced: PluginEvent[] | null = [];
  /** The step that is about to be done. */
  #step = 1;

  constructor(options: PluginRunsOptions) {
    this.#options = options;
    this.#loss = new PlanLoss(options);
  }

  /** Whether some step may leave blocks out. */
  get choosesBlocks(): boolean {
    return this.#choosers.length > 0;
  }

  /** Names and configs: a run goes on under the same. */
  get fingerprint(): Readonly<Record<string, unknown>> {
    const entries = this.#options.plugins.attached.map(({ plugin, config }) => [plugin.name, config] as const);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** What the run's next steps depend on, by plug-in. */
  get state(): Readonly<Record<string, unknown>> {
    const states = this.#runs.map(({ plugin, run }) => [plugin.name, run.state?.()] as const);
    return Object.fromEntries(states.filter(([, state]) => state !== undefined));
  }

  /**
   * @param interrupted what `state` was when the run was interrupted, and what had been recorded.
   * @throws PeftError what a plug-in finds wrong with the model, and `PLUGIN_CONFLICT`.
   */
  start(interrupted: {
    /** Steps done. */
    readonly step: number;
    readonly state: Readonly<Record<string, unknown>>;
    readonly records: readonly PluginEvent[];
  }): void {
    const { plugins } = this.#options;
    this.#records = [...interrupted.records];
    this.#step = interrupted.step + 1;
    this.#runs = plugins.attached.map(({ plugin, config }) => ({
      ...{ plugin, config },
      run:
        plugin.start?.({
          ...{ config, parameters: plugins.parameters(), sites: plugins.sites, blocks: plugins.blocks },
          responsive: plugins.responsive(),
          state: interrupted.state[plugin.name],
          tools: {
            loss: (options) => this.#loss.loss(options),
            record: (entry) => this.#record(plugin.name, entry),
            warn: this.#options.warn,
          },
        }) ?? {},
    }));
    const [first, second] = this.#choosers;
    if (first === undefined || second === undefined) return;
    throw new PeftError(
      "PLUGIN_CONFLICT",
      `The plug-ins "${first.plugin.name}" and "${second.plugin.name}" both choose the blocks that learn in a step. Use one of them.`,
    );
  }

  /** To be called when those who listen are ready: tells them what `start` recorded, and from now on everything at once. */
  announce(): void {
    for (const event of this.#unannounced ?? []) this.#options.events.emit("plugin", event);
    this.#unannounced = null;
  }

  /**
   * The blocks that learn in a step; undefined: all.
   * @throws PeftError `PLUGIN_INVALID` for blocks that the model does not have, or that a plug-in had said it would not choose.
   */
  async beforeStep(step: number): Promise<readonly number[] | undefined> {
    this.#step = step;
    let blocks: readonly number[] | undefined;
    for (const { plugin, run } of this.#runs) {
      const choice = await run.beforeStep?.(step);
      if (choice?.blocks === undefined) continue;
      this.#check(choice.blocks, { name: plugin.name, chooses: run.choosesBlocks === true });
      blocks = choice.blocks;
    }
    return blocks;
  }

  /** Files about the run, by name. */
  report(): Readonly<Record<string, string>> {
    const files = this.#runs.map(({ plugin, config }) => {
      const own = this.#records.filter((entry) => entry.plugin === plugin.name).map(({ record }) => record);
      return plugin.report?.(own, config) ?? {};
    });
    return Object.assign({}, ...files) as Readonly<Record<string, string>>;
  }

  async dispose(): Promise<void> {
    await this.#loss.dispose();
  }

  get #choosers(): readonly StartedPlugin[] {
    return this.#runs.filter(({ run }) => run.choosesBlocks === true);
  }

  #record(plugin: string, entry: Readonly<Record<string, unknown>>): void {
    const event = { step: this.#step, plugin, record: { ...entry, step: this.#step } };
    this.#records.push(event);
    if (this.#unannounced === null) this.#options.events.emit("plugin", event);
    else this.#unannounced.push(event);
  }

  #check(blocks: readonly number[], { name, chooses }: { readonly name: string; readonly chooses: boolean }): void {
    const { blocks: count } = this.#options.plugins;
    const wrong = blocks.find((block) => !Number.isInteger(block) || block < 0 || block >= count);
    if (chooses && wrong === undefined) return;
    throw new PeftError(
      "PLUGIN_INVALID",
      chooses
        ? `The plug-in "${name}" chooses the block ${wrong} for step ${this.#step}, but the model has the blocks 0 to ${count - 1}. Return indices of the model's blocks.`
        : `The plug-in "${name}" chooses blocks for step ${this.#step}, but what its start() returned does not say so. Return choosesBlocks: true there.`,
    );
  }
}
