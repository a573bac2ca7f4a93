import type { Plugins } from "@peftjs/core";

/**
 * Each depth has programs of its own, which take time to open and memory to keep; more of them would save a little backward work in a
 * few steps.
 */
const MAX_DEPTHS = 6;

/**
 * The first block that a step's programs compute gradients for: that of the lowest block that learns, rounded down, so that a few
 * programs serve all choices of blocks.
 */
export class Depths {
  readonly #blocks: number;
  readonly #stride: number;

  /** @param pausing blocks that may pause; without any, every step goes down to the first block. */
  constructor(plugins: Plugins | undefined, pausing: readonly number[]) {
    const parameters = pausing.length === 0 ? [] : (plugins?.parameters() ?? []);
    // What learns below the blocks, as embeddings do, needs a gradient through all of them.
    const below = parameters.some(({ block, afterBlocks }) => block === null && !afterBlocks);
    this.#blocks = below ? 0 : parameters.reduce((most, { block }) => Math.max(most, (block ?? -1) + 1), 0);
    this.#stride = Math.max(1, Math.ceil(this.#blocks / MAX_DEPTHS));
  }

  /** @param learning blocks that learn; undefined: all. */
  from(learning: readonly number[] | undefined): number {
    if (this.#blocks === 0 || learning === undefined) return 0;
    const lowest = Math.min(this.#blocks, ...learning);
    return lowest === this.#blocks ? lowest : lowest - (lowest % this.#stride);
  }
}
