import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Paragraph } from "../corpus/build.ts";
import { createEncoder } from "../vocabulary/encode.ts";
import { writeTokenizer } from "../vocabulary/files.ts";
import { trainVocabulary } from "../vocabulary/train.ts";
import { basicTokens } from "../vocabulary/words.ts";
import { ARTIFACTS_FOLDER } from "../folders.ts";

export const VOCABULARY_SIZE = 8192;

export function registerVocabulary(program: Command): void {
  program
    .command("vocabulary")
    .description("train the WordPiece vocabulary and write the tokenizer and the tokenized corpus")
    .action(() => {
      const texts = { train: readTexts("train"), heldout: readTexts("heldout") };
      const counts = new Map<string, number>();
      for (const text of texts.train) {
        for (const word of basicTokens(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
      }
      const vocabulary = trainVocabulary(counts, {
        size: VOCABULARY_SIZE,
        minimumWordCount: 2,
        minimumCharacterCount: 40,
      });
      writeTokenizer(join(ARTIFACTS_FOLDER, "tokenizer"), vocabulary);
      const summary = {
        vocabularySize: vocabulary.length,
        train: writeTokens("train", texts.train, vocabulary),
        heldout: writeTokens("heldout", texts.heldout, vocabulary),
      };
      writeFileSync(join(ARTIFACTS_FOLDER, "tokens.json"), `${JSON.stringify(summary, null, 2)}\n`);
      console.log(JSON.stringify(summary));
    });
}

function readTexts(name: string): string[] {
  const lines = readFileSync(join(ARTIFACTS_FOLDER, `corpus.${name}.jsonl`), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => (JSON.parse(line) as Paragraph).text);
}

/** Ids as little-endian 16-bit integers, `[SEP]` after every paragraph. */
function writeTokens(name: string, texts: readonly string[], vocabulary: readonly string[]) {
  const encode = createEncoder(vocabulary);
  const separator = vocabulary.indexOf("[SEP]");
  const unknown = vocabulary.indexOf("[UNK]");
  const ids = Uint16Array.from(texts.flatMap((text) => [...encode(text), separator]));
  writeFileSync(join(ARTIFACTS_FOLDER, `tokens.${name}.bin`), ids);
  return { tokens: ids.length, paragraphs: texts.length, unknown: ids.filter((id) => id === unknown).length };
}
