/**
 * How often each block has been updated. What lies outside of the blocks is updated in every step, so that the number of the step serves
 * for it; so it does for everything when no block ever pauses.
 */
export class Clocks {
  readonly #counts: Map<number, number>;

  /** @param blocks those that may pause. */
  constructor(blocks: Iterable<number>) {
    this.#counts = new Map([...new Set(blocks)].sort((a, b) => a - b).map((block) => [block, 0]));
  }

  get blocks(): readonly number[] {
    return [...this.#counts.keys()];
  }

  /** Counts an update of these blocks. */
  advance(learning: (block: number) => boolean): void {
    for (const [block, count] of this.#counts) if (learning(block)) this.#counts.set(block, count + 1);
  }

  /** Updates of a block so far, of what never pauses `step`. At least 1: the numbers of a block before its first update are not used. */
  count(block: number | undefined, step: number): number {
    return block === undefined ? step : Math.max(1, this.#counts.get(block) ?? step);
  }

  /** By block, for checkpoints. */
  toJSON(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  restore(saved: Readonly<Record<string, number>>): void {
    for (const block of this.#counts.keys()) this.#counts.set(block, saved[block] ?? 0);
  }
}
