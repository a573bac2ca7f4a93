import { normalizeForComparison } from "../sources/text.ts";

/** Shorter texts are common phrases ("a river in France"): whose entry they are decides, not their words. */
const MINIMUM_WORDS = 8;

export interface SealedTexts {
  /** Whether a normalized paragraph holds one of the texts in full. */
  isQuotedIn(paragraph: string): boolean;
}

/** Looks up texts by their first words, so that a paragraph is read once whatever the number of texts. */
export function createSealedTexts(texts: readonly string[]): SealedTexts {
  const byOpening = new Map<string, string[]>();
  for (const text of texts) {
    const words = normalizeForComparison(text).split(" ");
    if (words.length < MINIMUM_WORDS) continue;
    const opening = words.slice(0, MINIMUM_WORDS).join(" ");
    byOpening.set(opening, [...(byOpening.get(opening) ?? []), words.join(" ")]);
  }
  return {
    isQuotedIn(paragraph) {
      const starts = wordStarts(paragraph);
      for (let i = 0; i + MINIMUM_WORDS <= starts.length; i++) {
        const start = starts[i] as number;
        const end = starts[i + MINIMUM_WORDS];
        const candidates = byOpening.get(paragraph.slice(start, end === undefined ? undefined : end - 1));
        if (candidates?.some((text) => paragraph.startsWith(text, start)) === true) return true;
      }
      return false;
    },
  };
}

function wordStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf(" "); at >= 0; at = text.indexOf(" ", at + 1)) starts.push(at + 1);
  return starts;
}
