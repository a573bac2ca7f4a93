import type { LayerSite, PluginContext, PluginLossOptions, PluginRecord, TrainableParameter } from "@peftjs/core";
import { linearSite } from "@peftjs/testkit";

/** Loss that stands for a model's: of a batch's number and the factor of every block. */
export type SyntheticLoss = (index: number, scales: readonly number[]) => number;

export interface Recorded {
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
  return { key, shape: [1], adapter: "default", site: null, name: null, base: null, head: block === null, block };
}

interface FakeOptions {
  /** Blocks of the model. */
  readonly blocks: number;
  /** Those that learn; default: all. */
  readonly learning?: readonly number[];
  readonly responsive?: readonly number[];
  readonly loss?: SyntheticLoss;
  readonly state?: unknown;
}

/** What a trainer gives a plug-in, and what it was asked and told. */
export function fakeContext<Config extends object>(
  config: Config,
  { blocks, loss = () => 1, state, ...options }: FakeOptions,
): PluginContext<Config> & Recorded {
  const recorded: Recorded = { records: [], asked: [], warnings: [] };
  const learning = options.learning ?? [...Array(blocks).keys()];
  return {
    ...recorded,
    ...{ config, blocks, state, sites: blockSites(blocks), responsive: new Set(options.responsive ?? learning) },
    parameters: [...learning.map((block) => parameter(`default.layer.${block}.a`, block)), parameter("head", null)],
    tools: {
      loss: async (asked) => {
        recorded.asked.push(asked);
        return loss(asked.index, asked.responseScale ?? []);
      },
      record: (entry) => void recorded.records.push(entry as PluginRecord),
      warn: (message) => void recorded.warnings.push(message),
    },
  };
}

/** Suppressing an even block costs 0.10, an odd one 0.01. */
export const evenMatters: SyntheticLoss = (_, scales) =>
  scales.reduce((sum, scale, block) => sum + ((block % 2 === 0 ? 0.1 : 0.01) * (1 - scale)) / 0.75, 1);

/** Depends on everything, without a pattern. */
export const waves: SyntheticLoss = (index, scales) =>
  0.7 + 0.3 * Math.sin(scales.reduce((sum, scale, block) => sum + (block + 1) ** 2 * (1 - scale), index));
