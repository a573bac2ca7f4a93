import type { HostTensor, Named } from "@peftjs/core";
import type { Clocks } from "./clocks.ts";
import type { Layout } from "./layout.ts";

/** What is known of a step before anything of it is computed. */
export interface StepFacts {
  /** From 1. */
  readonly step: number;
  readonly learningRate: number;
  readonly layout: Layout;
  /** Updates of this step counted in. */
  readonly clocks: Clocks;
  readonly learns: (block: number) => boolean;
  /** Live state of every tensor with a rule, by its key and by slot. */
  readonly ruleStates: Named<Named<HostTensor>>;
}

/** Whether a tensor is updated in the step. */
export function isUpdated({ layout, learns }: StepFacts, key: string): boolean {
  const block = layout.blocks[key];
  return block === undefined || learns(block);
}

/** Which update of a tensor it is, from 1. */
export function updateOf({ layout, clocks, step }: StepFacts, key: string): number {
  return clocks.count(layout.blocks[key], step);
}
