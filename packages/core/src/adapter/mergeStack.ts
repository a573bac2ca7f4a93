import type { StoredTensor } from "../tensors.ts";

interface Merge {
  readonly names: readonly string[];
  /** What all merges up to this one come to, by parameter name. */
  readonly weights: ReadonlyMap<string, StoredTensor>;
}

/** Merges on top of each other. Each keeps its result whole, so that taking one back restores every bit. */
export class MergeStack {
  #merges: readonly Merge[] = [];

  /** Merged adapters in the order in which they were merged. */
  get names(): readonly string[] {
    return this.#merges.flatMap(({ names }) => names);
  }

  /** Merged weights by parameter name. */
  get weights(): ReadonlyMap<string, StoredTensor> {
    return this.#merges.at(-1)?.weights ?? new Map();
  }

  push(merge: Merge): void {
    this.#merges = [...this.#merges, merge];
  }

  pop(): void {
    this.#merges = this.#merges.slice(0, -1);
  }

  clear(): void {
    this.#merges = [];
  }

  rename(from: string, to: string): void {
    this.#merges = this.#merges.map((merge) => ({
      ...merge,
      names: merge.names.map((name) => (name === from ? to : name)),
    }));
  }

  /** Runs `work` and forgets the merges it made. */
  trying<T>(work: () => T): T {
    const before = this.#merges;
    try {
      return work();
    } finally {
      this.#merges = before;
    }
  }
}
