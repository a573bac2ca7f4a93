import { hashString } from "../random.ts";
import { readFactbook, readMobyDick } from "../sources/books.ts";
import { detokenize, readBrown } from "../sources/brown.ts";
import { readSpeeches } from "../sources/speeches.ts";
import { normalizeForComparison, wordCount } from "../sources/text.ts";
import type { Synset } from "../sources/wordnet.ts";
import { readWordNet } from "../sources/wordnet.ts";
import { sharesHeadword } from "../tasks/partition.ts";
import type { BuiltTask, Sealed } from "../tasks/rows.ts";
import { createSealedTexts } from "./sealedTexts.ts";

export interface Paragraph {
  readonly source: "sotu" | "wordnet" | "brown" | "factbook" | "moby-dick";
  /** Speech, synset, document, country or chapter. */
  readonly document: string;
  readonly text: string;
}

export interface Corpus {
  readonly train: readonly Paragraph[];
  /** Whole documents, for the masked accuracy that is reported. */
  readonly heldout: readonly Paragraph[];
}

const MINIMUM_WORDS = 8;

/** A dictionary entry is complete at fewer words. */
const MINIMUM_ENTRY_WORDS = 5;

const MINIMUM_LETTERS = 0.85;

/** One document in this many is held out. */
const HELD_OUT = 120;

/**
 * Cleaned prose of the npm sources, paragraphs once each, without anything that dev and test rows of a task were made of:
 * their documents, their synsets, every synset with one of their headwords, and any paragraph that quotes a row.
 */
export function buildCorpus(input: { readonly tasks: readonly BuiltTask[]; readonly sealed: Sealed }): Corpus {
  const sealedTexts = createSealedTexts(
    input.tasks
      .flatMap((task) => [...task.splits.dev, ...task.splits.test])
      .flatMap((row) => [row.text, row.textPair ?? ""]),
  );
  const seen = new Set<string>();
  const corpus = { train: [] as Paragraph[], heldout: [] as Paragraph[] };
  for (const paragraph of readParagraphs(input.sealed)) {
    if (!isProse(paragraph)) continue;
    const key = normalizeForComparison(paragraph.text);
    if (seen.has(key) || sealedTexts.isQuotedIn(key)) continue;
    seen.add(key);
    const heldout = hashString(`${paragraph.source}/${paragraph.document}`) % HELD_OUT === 0;
    corpus[heldout ? "heldout" : "train"].push(paragraph);
  }
  return corpus;
}

/** All paragraphs of documents that are not sealed, in a fixed order. */
function* readParagraphs(sealed: Sealed): Generator<Paragraph> {
  for (const { id, chunks } of readSpeeches()) {
    if (sealed.speeches.has(id)) continue;
    for (const text of chunks) yield { source: "sotu", document: id, text };
  }
  for (const { id, paragraphs } of readBrown()) {
    if (sealed.brownDocuments.has(id)) continue;
    for (const sentences of paragraphs) {
      yield { source: "brown", document: id, text: sentences.map(detokenize).join(" ") };
    }
  }
  for (const [source, documents] of [
    ["factbook", readFactbook()],
    ["moby-dick", readMobyDick()],
  ] as const) {
    for (const { id, paragraphs } of documents) {
      for (const text of paragraphs) yield { source, document: id, text };
    }
  }
  for (const synset of readWordNet()) {
    if (sealed.synsets.has(synset.id) || sharesHeadword(synset, sealed.headwords)) continue;
    yield { source: "wordnet", document: synset.id, text: entryOf(synset) };
  }
}

/** `headword, headword: definition; "example"`, as a dictionary prints it. */
function entryOf(synset: Synset): string {
  const head = `${synset.lemmas.slice(0, 3).join(", ")} : ${synset.gloss}`;
  return [head, ...synset.examples].join("; ");
}

function isProse({ source, text }: Paragraph): boolean {
  const letters = text.match(/[\p{L}\s]/gu)?.length ?? 0;
  return (
    wordCount(text) >= (source === "wordnet" ? MINIMUM_ENTRY_WORDS : MINIMUM_WORDS) &&
    letters >= MINIMUM_LETTERS * text.length
  );
}
