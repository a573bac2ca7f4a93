import { listTasks, loadTask } from "@peftjs/data";
import type { DataRow } from "@peftjs/data";
import { beforeAll, describe, expect, it } from "vitest";
import { readBrown } from "../sources/brown.ts";
import { readSpeeches } from "../sources/speeches.ts";
import { normalizeForComparison } from "../sources/text.ts";
import { readWordNet } from "../sources/wordnet.ts";
import { buildTasks } from "../tasks/build.ts";
import { checksum, linesOf } from "../tasks/write.ts";
import type { Corpus, Paragraph } from "./build.ts";
import { buildCorpus } from "./build.ts";
import { createSealedTexts } from "./sealedTexts.ts";

let built: ReturnType<typeof buildTasks>;
let corpus: Corpus;
let paragraphs: readonly Paragraph[];

beforeAll(() => {
  built = buildTasks();
  corpus = buildCorpus(built);
  paragraphs = [...corpus.train, ...corpus.heldout];
}, 120_000);

/** Dev and test rows as they are shipped: the leak rule is about them, not about what was just built. */
function sealedRows(name: string): DataRow[] {
  const task = loadTask(name);
  return [...task.dev, ...task.test];
}

function documentsOf(source: Paragraph["source"]): Set<string> {
  return new Set(paragraphs.filter((paragraph) => paragraph.source === source).map((paragraph) => paragraph.document));
}

it("builds the tasks that are shipped, byte for byte", () => {
  for (const task of built.tasks) {
    const shipped = loadTask(task.name);
    for (const split of ["train", "dev", "test"] as const) {
      expect(checksum(linesOf(task.splits[split])), `${task.name} ${split}`).toBe(
        checksum(linesOf(shipped[split] as never)),
      );
    }
  }
});

describe("leak rule", () => {
  it("no synset of a dev or test row, and no synset with one of its headwords, is in the corpus", () => {
    const inCorpus = documentsOf("wordnet");
    const texts = new Set(
      ["wn-hypernym3", "wn-sim"].flatMap(sealedRows).flatMap((row) => [row.text, row.textPair ?? ""]),
    );
    const wordNet = readWordNet();
    const sealed = wordNet.filter(
      (synset) =>
        built.sealed.synsets.has(synset.id) &&
        (texts.has(synset.gloss) || texts.has(`${synset.lemmas[0] ?? ""} : ${synset.gloss}`)),
    );
    expect(sealed.length).toBeGreaterThan(3000);
    const headwords = new Set(sealed.flatMap((synset) => synset.lemmas.map((lemma) => lemma.toLowerCase())));
    const leaked = wordNet.filter(
      (synset) => inCorpus.has(synset.id) && synset.lemmas.some((lemma) => headwords.has(lemma.toLowerCase())),
    );
    expect(leaked).toEqual([]);
  });

  it("every shipped dev and test text of WordNet is that of a sealed synset", () => {
    const glosses = new Set(
      readWordNet()
        .filter((synset) => built.sealed.synsets.has(synset.id))
        .map((synset) => synset.gloss),
    );
    const foreign = sealedRows("wn-sim").filter((row) => !glosses.has(row.text) || !glosses.has(row.textPair ?? ""));
    expect(foreign).toEqual([]);
  });

  it("no Brown document with a dev or test sentence is in the corpus, swapped or not", () => {
    const inCorpus = documentsOf("brown");
    // The same words in any order are the same sentence.
    const bagOf = (words: readonly string[]): string =>
      words
        .map((word) => word.toLowerCase())
        .sort()
        .join(" ");
    const sealed = new Set(sealedRows("bshift").map((row) => bagOf(row.text.split(" "))));
    const leaked = readBrown()
      .filter((document) => inCorpus.has(document.id))
      .flatMap((document) => document.paragraphs.flat())
      .filter((words) => sealed.has(bagOf(words)));
    expect(inCorpus.size).toBeGreaterThan(400);
    expect(leaked).toEqual([]);
  });

  it("no speech with a dev or test chunk is in the corpus", () => {
    const inCorpus = documentsOf("sotu");
    const sealed = new Set(sealedRows("sotu-era4").map((row) => row.text));
    const sources = readSpeeches().filter((speech) => speech.chunks.some((chunk) => sealed.has(chunk)));
    expect(sources.length).toBeGreaterThan(20);
    expect(sources.filter((speech) => inCorpus.has(speech.id))).toEqual([]);
  });

  it("no paragraph quotes a dev or test text of eight words or more", () => {
    const sealed = createSealedTexts(
      listTasks()
        .flatMap((task) => sealedRows(task.name))
        .flatMap((row) => [row.text, row.textPair ?? ""]),
    );
    expect(paragraphs.filter((paragraph) => sealed.isQuotedIn(normalizeForComparison(paragraph.text)))).toEqual([]);
  });
});

describe("corpus", () => {
  it("holds out whole documents, about one in a hundred", () => {
    const train = new Set(corpus.train.map((paragraph) => `${paragraph.source}/${paragraph.document}`));
    expect(corpus.heldout.filter((paragraph) => train.has(`${paragraph.source}/${paragraph.document}`))).toEqual([]);
    const share = corpus.heldout.length / paragraphs.length;
    expect(share).toBeGreaterThan(0.005);
    expect(share).toBeLessThan(0.012);
  });

  it("has every paragraph once", () => {
    const keys = paragraphs.map((paragraph) => normalizeForComparison(paragraph.text));
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe("createSealedTexts", () => {
  const sealed = createSealedTexts(["One two three, four five six seven EIGHT nine.", "a short text"]);

  it("finds a text inside a paragraph", () => {
    expect(sealed.isQuotedIn("he said one two three four five six seven eight nine and left")).toBe(true);
    expect(sealed.isQuotedIn("one two three four five six seven eight nine")).toBe(true);
  });

  it("asks for the whole text, and leaves short phrases alone", () => {
    expect(sealed.isQuotedIn("one two three four five six seven eight ten")).toBe(false);
    expect(sealed.isQuotedIn("this is a short text")).toBe(false);
  });
});
