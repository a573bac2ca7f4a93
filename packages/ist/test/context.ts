import type {
  LayerSite,
  PluginLossOptions,
  PluginRecord,
  PluginRun,
  StepChoice,
  TrainableParameter,
  TrainingPlugin,
} from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";

/** Loss that stands for a model's: of a batch's number and the factor of every block. */
export type SyntheticLoss = (index: number, scales: readonly number[]) => number;

interface Recorded {
  readonly records: PluginRecord[];
  readonly asked: PluginLossOptions[];
  readonly warnings: string[];
}

/** Sites of blocks as an encoder has them. */
export function blockSites(blocks: number, pathOf = (block: number) => `bert.encoder.layer.${block}`): LayerSite[] {
  return Array.from({ length: blocks }, (_, block) =>
    ["attention.self.query", "attention.self.value"].map((layer) =>
      linearSite({ path: `${pathOf(block)}.${layer}`, role: layer, block, inFeatures: 4, outFeatures: 4 }),
    ),
  ).flat();
}

export function parameter(key: string, block: number | null): TrainableParameter {
  const head = block === null;
  return { key, shape: [1], adapter: "default", site: null, name: null, base: null, head, afterBlocks: head, block };
}

interface FakeOptions<Config> {
  readonly config?: Partial<Config>;
  /** Blocks of the model. */
  readonly blocks: number;
  /** Those that learn; default: all. */
  readonly learning?: readonly number[];
  readonly responsive?: readonly number[];
  readonly loss?: SyntheticLoss;
  /** Where the plug-in goes on. */
  readonly state?: SavedState;
}

interface SavedState {
  readonly step: number;
  readonly value: unknown;
}

/** A plug-in that runs, and what it was asked and told. */
export interface Started extends Recorded {
  readonly choosesBlocks: boolean | undefined;
  state(): SavedState;
  /** What it chose for the steps up to this one. */
  advance(to: number): Promise<StepChoice[]>;
}

/**
 * Starts a plug-in on a model that is made up, and does for it what a trainer does.
 * @throws what the plug-in does.
 */
export function started<Config extends object>(
  plugin: TrainingPlugin<Config>,
  { config = {}, blocks, loss = () => 1, state, ...options }: FakeOptions<Config>,
): Started {
  const recorded: Recorded = { records: [], asked: [], warnings: [] };
  const learning = options.learning ?? [...Array(blocks).keys()];
  let now = (state?.step ?? 0) + 1;
  const run = plugin.start?.({
    ...{ config: plugin.config.parse(config), blocks, state: state?.value, sites: blockSites(blocks) },
    parameters: [...learning.map((block) => parameter(`default.layer.${block}.a`, block)), parameter("head", null)],
    responsive: new Set(options.responsive ?? learning),
    tools: {
      loss: async (asked) => {
        recorded.asked.push(asked);
        return loss(asked.index, asked.responseScale ?? []);
      },
      record: (entry) => void recorded.records.push({ ...entry, step: now }),
      warn: (message) => void recorded.warnings.push(message),
    },
  }) as PluginRun;
  return {
    ...recorded,
    choosesBlocks: run.choosesBlocks,
    state: () => ({ step: now - 1, value: run.state?.() }),
    advance: async (to) => {
      const choices: StepChoice[] = [];
      for (; now <= to; now++) choices.push((await run.beforeStep?.(now)) as StepChoice);
      return choices;
    },
  };
}

/** Suppressing an even block costs 0.10, an odd one 0.01. */
export const evenMatters: SyntheticLoss = (_, scales) =>
  scales.reduce((sum, scale, block) => sum + ((block % 2 === 0 ? 0.1 : 0.01) * (1 - scale)) / 0.75, 1);

/** Depends on everything, without a pattern. */
export const waves: SyntheticLoss = (index, scales) =>
  0.7 + 0.3 * Math.sin(scales.reduce((sum, scale, block) => sum + (block + 1) ** 2 * (1 - scale), index));
