import { createPairHeap } from "./pairHeap.ts";

/** In the order of their ids. */
export const SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] as const;

export interface VocabularyOptions {
  readonly size: number;
  /** Words and characters that occur less often take no part. */
  readonly minimumWordCount: number;
  readonly minimumCharacterCount: number;
}

/** Joins two pieces: only the first keeps its missing `##`. */
function join(left: string, right: string): string {
  return left + right.replace(/^##/, "");
}

/**
 * WordPiece vocabulary from word counts: special tokens, characters (inside a word with `##`), then merges of the most
 * frequent neighbours, as the Hugging Face trainer does. Ties go to the pair that comes first in alphabetical order.
 */
export function trainVocabulary(counts: ReadonlyMap<string, number>, options: VocabularyOptions): string[] {
  const words = [...counts]
    .filter(([, count]) => count >= options.minimumWordCount)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const alphabet = alphabetOf(words, options.minimumCharacterCount);
  const pieces: string[] = [...SPECIAL_TOKENS, ...alphabet];
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  const spelled = words.flatMap(([word, count]) => {
    const symbols = [...word].map((character, i) => ids.get(i === 0 ? character : `##${character}`) ?? -1);
    return symbols.includes(-1) ? [] : [{ symbols, count }];
  });

  const heap = createPairHeap((id) => pieces[id] ?? "");
  const wordsOf = new Map<number, Set<number>>();
  spelled.forEach(({ symbols, count }, word) => {
    for (let i = 0; i + 1 < symbols.length; i++) touch(pairKey(symbols[i], symbols[i + 1]), count, word);
  });
  function touch(key: number, change: number, word: number): void {
    heap.add(key, change);
    const holders = wordsOf.get(key);
    if (holders === undefined) wordsOf.set(key, new Set([word]));
    else holders.add(word);
  }

  while (pieces.length < options.size) {
    const best = heap.take();
    if (best === undefined) break;
    const [left, right] = [Math.floor(best / PAIR_BASE), best % PAIR_BASE];
    const piece = join(pieces[left] ?? "", pieces[right] ?? "");
    // Two ways to one piece (a + ##bc, ab + ##c) share an id.
    const id = ids.get(piece) ?? pieces.push(piece) - 1;
    ids.set(piece, id);
    for (const word of wordsOf.get(best) ?? []) {
      const entry = spelled[word];
      if (entry === undefined) continue;
      for (let i = 0; i + 1 < entry.symbols.length; i++)
        touch(pairKey(entry.symbols[i], entry.symbols[i + 1]), -entry.count, word);
      entry.symbols = merged(entry.symbols, { left, right, id });
      for (let i = 0; i + 1 < entry.symbols.length; i++)
        touch(pairKey(entry.symbols[i], entry.symbols[i + 1]), entry.count, word);
    }
    wordsOf.delete(best);
  }
  return pieces;
}

const PAIR_BASE = 65536;

function pairKey(left: number | undefined, right: number | undefined): number {
  return (left ?? 0) * PAIR_BASE + (right ?? 0);
}

function merged(
  symbols: readonly number[],
  merge: { readonly left: number; readonly right: number; readonly id: number },
): number[] {
  const result: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === merge.left && symbols[i + 1] === merge.right) {
      result.push(merge.id);
      i++;
    } else {
      result.push(symbols[i] as number);
    }
  }
  return result;
}

/** Frequent characters, alone and as the inside of a word: a word of known letters never becomes `[UNK]`. */
function alphabetOf(words: readonly (readonly [string, number])[], minimum: number): string[] {
  const counts = new Map<string, number>();
  for (const [word, count] of words) {
    for (const character of word) counts.set(character, (counts.get(character) ?? 0) + count);
  }
  const characters = [...counts]
    .filter(([, count]) => count >= minimum)
    .map(([character]) => character)
    .sort();
  const inside = characters.filter((character) => /[\p{L}\p{N}]/u.test(character));
  return [...characters, ...inside.map((character) => `##${character}`)];
}
