/** Explained-variance ratios of a layer's components. */
export interface LayerRatios {
  readonly path: string;
  /** The first layer with the same input: the two share their components. */
  readonly owner: string;
  readonly ratios: ArrayLike<number>;
}

/**
 * Gives the `budget` largest ratios of all layers their place: a layer's rank is the number of its ratios among them (Paischer et al. 2024,
 * algorithm 1). Where ratios are equal, owners come first, then the order of `layers`. In the end the owner has the largest rank of those
 * that share its input.
 */
export function redistributeRanks(layers: readonly LayerRatios[], budget: number): Map<string, number> {
  const followers = layers.filter(({ path, owner }) => path !== owner);
  const pool = [...layers.filter(({ path, owner }) => path === owner), ...followers].flatMap(({ path, ratios }) =>
    Array.from(ratios, (ratio) => ({ path, ratio })),
  );
  const chosen = pool.sort((a, b) => b.ratio - a.ratio).slice(0, budget);
  const ranks = new Map(layers.map(({ path }) => [path, 0]));
  const rankOf = (path: string): number => ranks.get(path) ?? 0;
  for (const { path } of chosen) ranks.set(path, rankOf(path) + 1);
  for (const { path, owner } of followers) {
    const [own, largest] = [rankOf(path), rankOf(owner)];
    ranks.set(owner, Math.max(own, largest));
    ranks.set(path, Math.min(own, largest));
  }
  return ranks;
}
