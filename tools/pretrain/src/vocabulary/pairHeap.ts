/** Counts of pairs with the largest at hand. */
export interface PairHeap {
  /** Changes the count of a pair. */
  add(key: number, change: number): void;
  /** Removes and returns the pair with the largest positive count. */
  take(): number | undefined;
}

/** A binary heap with entries that may be out of date: an entry is believed only when it states the current count. */
export function createPairHeap(pieceOf: (id: number) => string): PairHeap {
  const counts = new Map<number, number>();
  const changed = new Set<number>();
  const heap: { key: number; count: number }[] = [];
  const before = (a: { key: number; count: number }, b: { key: number; count: number }): boolean =>
    a.count !== b.count ? a.count > b.count : spelling(a.key) < spelling(b.key);
  const spelling = (key: number): string => `${pieceOf(Math.floor(key / 65536))} ${pieceOf(key % 65536)}`;

  const push = (entry: { key: number; count: number }): void => {
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !before(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  };
  const pop = (): { key: number; count: number } | undefined => {
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && before(right, left)) child++;
      const smaller = heap[child];
      if (smaller === undefined || !before(smaller, last)) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = last;
    return top;
  };

  return {
    add(key, change) {
      counts.set(key, (counts.get(key) ?? 0) + change);
      changed.add(key);
    },
    take() {
      for (const key of changed) {
        const count = counts.get(key) ?? 0;
        if (count > 0) push({ key, count });
        else counts.delete(key);
      }
      changed.clear();
      for (let top = pop(); top !== undefined; top = pop()) {
        if (counts.get(top.key) !== top.count) continue;
        counts.delete(top.key);
        return top.key;
      }
      return undefined;
    },
  };
}
