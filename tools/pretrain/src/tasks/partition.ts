import { groupBy } from "../groupBy.ts";
import type { Random } from "../random.ts";
import { shuffled } from "../random.ts";
import type { Synset } from "../sources/wordnet.ts";
import type { Split } from "./rows.ts";

/** Shares of the nouns put aside for test and dev. One partition serves all WordNet tasks, so that little leaves the corpus. */
const SHARES = { test: 0.044, dev: 0.022 };

/** Larger families (genera, rivers, …) are in no task: one of them would be most of a split. They stay in the corpus. */
const LARGEST_FAMILY = 60;

export interface WordNetPartition {
  readonly synsets: Readonly<Record<Split, readonly Synset[]>>;
  /** Family of a synset: its hypernym where it is a leaf, else itself. */
  readonly familyOf: (synset: Synset) => string;
}

/**
 * Splits nouns by family (an inner synset with its leaf hyponyms), in each lexicographer file alike: glosses of siblings are
 * near copies of each other, and every leaf-to-hypernym pair then lies in one split. Synsets of train or dev that share a
 * headword with a later split are dropped.
 */
export function partitionNouns(nouns: readonly Synset[], random: Random): WordNetPartition {
  const inner = new Set(nouns.flatMap((synset) => synset.hypernyms));
  const familyOf = (synset: Synset): string => (inner.has(synset.id) ? synset.id : (synset.hypernyms[0] ?? synset.id));
  const families = [...groupBy(nouns, familyOf).values()].filter((family) => family.length <= LARGEST_FAMILY);
  const split: Record<Split, Synset[]> = { train: [], dev: [], test: [] };
  for (const ofFile of groupBy(families, (family) => family[0]?.file).values()) {
    const size = ofFile.reduce((sum, family) => sum + family.length, 0);
    let placed = 0;
    for (const family of shuffled(ofFile, random)) {
      const target: Split =
        placed < SHARES.test * size ? "test" : placed < (SHARES.test + SHARES.dev) * size ? "dev" : "train";
      split[target].push(...family);
      placed += family.length;
    }
  }
  const test = headwordsOf(split.test);
  const dev = split.dev.filter((synset) => !sharesHeadword(synset, test));
  const sealed = new Set([...test, ...headwordsOf(dev)]);
  return {
    synsets: { test: split.test, dev, train: split.train.filter((synset) => !sharesHeadword(synset, sealed)) },
    familyOf,
  };
}

/** Lower-case headwords. */
export function headwordsOf(synsets: readonly Synset[]): Set<string> {
  return new Set(synsets.flatMap((synset) => synset.lemmas.map((lemma) => lemma.toLowerCase())));
}

export function sharesHeadword(synset: Synset, headwords: ReadonlySet<string>): boolean {
  return synset.lemmas.some((lemma) => headwords.has(lemma.toLowerCase()));
}
