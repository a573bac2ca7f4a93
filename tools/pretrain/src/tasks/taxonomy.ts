import type { Synset } from "../sources/wordnet.ts";

/** Depths and ancestors in the hypernym graph. */
export interface Taxonomy {
  /** The synset itself and everything above it. */
  ancestors(id: string): ReadonlySet<string>;
  /** Nodes on the shortest way to a root, both ends counted. */
  depth(id: string): number;
  /** 2·depth(c) / (depth(a) + depth(b)), c the deepest common ancestor (Wu and Palmer 1994); 0 without one. */
  wuPalmer(a: string, b: string): number;
}

export function createTaxonomy(nouns: readonly Synset[]): Taxonomy {
  const hypernyms = new Map(nouns.map((synset) => [synset.id, synset.hypernyms]));
  const depths = new Map<string, number>();
  const above = new Map<string, ReadonlySet<string>>();
  const parents = (id: string): readonly string[] => hypernyms.get(id) ?? [];

  const depth = (id: string): number => {
    const known = depths.get(id);
    if (known !== undefined) return known;
    const value = parents(id).length === 0 ? 1 : 1 + Math.min(...parents(id).map(depth));
    depths.set(id, value);
    return value;
  };
  const ancestors = (id: string): ReadonlySet<string> => {
    const known = above.get(id);
    if (known !== undefined) return known;
    const value = new Set([id, ...parents(id).flatMap((parent) => [...ancestors(parent)])]);
    above.set(id, value);
    return value;
  };
  const wuPalmer = (a: string, b: string): number => {
    const ofB = ancestors(b);
    const shared = [...ancestors(a)].filter((id) => ofB.has(id));
    if (shared.length === 0) return 0;
    // A shortest way may pass the common ancestor by; the similarity stays in [0, 1] all the same.
    return Math.min(1, (2 * Math.max(...shared.map(depth))) / (depth(a) + depth(b)));
  };
  return { ancestors, depth, wuPalmer };
}
