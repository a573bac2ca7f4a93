import { basicTokens } from "./words.ts";

/** Longer words are unknown, as in `tokenizer.json`. */
export const LONGEST_WORD = 100;

/** Ids of a text without special tokens: greedy longest match, with a cache of words. Equal to the shipped tokenizer. */
export function createEncoder(vocabulary: readonly string[]): (text: string) => number[] {
  const ids = new Map(vocabulary.map((piece, id) => [piece, id]));
  const unknown = ids.get("[UNK]") ?? 0;
  const cache = new Map<string, readonly number[]>();
  const encodeWord = (word: string): readonly number[] => {
    if ([...word].length > LONGEST_WORD) return [unknown];
    const result: number[] = [];
    for (let start = 0; start < word.length;) {
      let end = word.length;
      let id: number | undefined;
      for (; end > start; end--) {
        id = ids.get((start === 0 ? "" : "##") + word.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) return [unknown];
      result.push(id);
      start = end;
    }
    return result;
  };
  return (text) => {
    const result: number[] = [];
    for (const word of basicTokens(text)) {
      let encoded = cache.get(word);
      if (encoded === undefined) cache.set(word, (encoded = encodeWord(word)));
      for (const id of encoded) result.push(id);
    }
    return result;
  };
}
