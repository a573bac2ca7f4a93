import type { HostTensor, Named, ParameterRule } from "@peftjs/core";
import type { Optimizer } from "../optim/optimizer.ts";
import { scalar } from "../optim/tensors.ts";
import { isUpdated, updateOf } from "./facts.ts";
import type { StepFacts } from "./facts.ts";
import { ruled } from "./layout.ts";
import { blockTag, openName, ruleTag, tagged } from "./tags.ts";

export interface StepScalarsOptions extends StepFacts {
  readonly optimizer: Optimizer;
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
    return isUpdated(this.#options, key);
  }

  /** For programs that update everything. */
  get all(): Named<HostTensor> {
    const { clocks, layout } = this.#options;
    const ofBlocks = clocks.blocks.map((block) => tagged(this.#ofBlock(block), blockTag(block)));
    const ofRules = ruled(layout).map(([key, rule]) => tagged(this.#ofRule(key, rule), ruleTag(key)));
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
    const { optimizer, clocks, step, learningRate } = this.#options;
    return optimizer.scalars(clocks.count(block, step), learningRate);
  }

  #ofRule(key: string, rule: ParameterRule): Named<HostTensor> {
    const { layout, ruleStates } = this.#options;
    const learningRate = this.#options.learningRate * (layout.groups[key]?.lrScale ?? 1);
    const numbers = rule.scalars({
      key,
      updates: updateOf(this.#options, key),
      learningRate,
      state: ruleStates[key] ?? {},
    });
    return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, scalar(value)]));
  }
}
