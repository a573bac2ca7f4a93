import type { HostTensor, Named, ParameterRule } from "@peftjs/core";
import type { Optimizer } from "../optim/optimizer.ts";
import { blockTag, ruleTag, tagged } from "../optim/tags.ts";
import { scalar, tensorsOf } from "../optim/tensors.ts";
import type { Clocks } from "./clocks.ts";
import type { Layout } from "./layout.ts";
import { openName } from "./update.ts";

export interface StepNumbers {
  /** From 1. */
  readonly step: number;
  readonly learningRate: number;
}

export interface StepScalarsOptions extends StepNumbers {
  readonly layout: Layout;
  readonly optimizer: Optimizer;
  /** Updates of this step counted in. */
  readonly clocks: Clocks;
  readonly learns: (block: number) => boolean;
  /** Live state of the optimizer and the rules. */
  readonly state: Named<HostTensor>;
}

/** The numbers of one step: those of the run, and under tags those of every block that may pause, and of every rule. */
export class StepScalars {
  readonly #options: StepScalarsOptions;

  constructor(options: StepScalarsOptions) {
    this.#options = options;
  }

  /** Whether blocks learn, by `openName`. */
  get open(): Named<HostTensor> {
    const { clocks, learns } = this.#options;
    return Object.fromEntries(clocks.blocks.map((block) => [openName(block), scalar(learns(block) ? 1 : 0)]));
  }

  /** Whether a tensor of the step is updated. */
  learns(key: string): boolean {
    const block = this.#options.layout.blocks[key];
    return block === undefined || this.#options.learns(block);
  }

  /** For programs that update everything. */
  get all(): Named<HostTensor> {
    const { clocks, layout } = this.#options;
    const ofBlocks = clocks.blocks.map((block) => tagged(this.#ofBlock(block), blockTag(block)));
    const ofRules = Object.entries(layout.rules).flatMap(([key, rule]) =>
      layout.pieceNames[key] === undefined ? [] : [tagged(this.#ofRule(key, rule), ruleTag(key))],
    );
    return Object.assign({}, this.#ofBlock(undefined), this.open, ...ofBlocks, ...ofRules) as Named<HostTensor>;
  }

  /** For programs that update one tensor of the step, or a piece of it, under the name `to`. */
  of(key: string, to: string): Named<HostTensor> {
    const { rules, blocks } = this.#options.layout;
    const rule = rules[key];
    if (rule !== undefined) return tagged(this.#ofRule(key, rule), ruleTag(to));
    const numbers = this.#ofBlock(blocks[key]);
    return blocks[to] === undefined ? numbers : tagged(numbers, blockTag(blocks[to]));
  }

  #ofBlock(block: number | undefined): Named<HostTensor> {
    const { optimizer, learningRate } = this.#options;
    return optimizer.scalars(this.#count(block), learningRate);
  }

  #ofRule(key: string, rule: ParameterRule): Named<HostTensor> {
    const { layout, state } = this.#options;
    const learningRate = this.#options.learningRate * (layout.groups[key]?.lrScale ?? 1);
    const updates = this.#count(layout.blocks[key]);
    const numbers = rule.scalars({ key, updates, learningRate, state: tensorsOf(state, key) });
    return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, scalar(value)]));
  }

  /** A block that has not learned yet has no first update; its numbers are not used. */
  #count(block: number | undefined): number {
    const { clocks, step } = this.#options;
    return Math.max(1, clocks.count(block, step));
  }
}
