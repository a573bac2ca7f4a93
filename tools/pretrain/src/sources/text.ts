/** Abbreviations after which a full stop does not end a sentence. */
const ABBREVIATION =
  /(?:^|[\s("'])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Gen|Gov|Col|Capt|Lt|Hon|Rev|Messrs|Jr|Sr|No|Nos|Sec|Art|vs|viz|approx|est|Mt|Ft|U\.S|D\.C)\.$/;

/** Sentences of a text in which paragraphs are lost: cut after . ! ? before a capital, not after an abbreviation. */
export function sentencesOf(text: string): string[] {
  const sentences: string[] = [];
  let start = 0;
  for (const match of text.matchAll(/[.!?]["')\]]*\s+(?=["'(]*[A-Z])/g)) {
    const end = match.index + match[0].length;
    const sentence = text.slice(start, end).trim();
    if (ABBREVIATION.test(sentence)) continue;
    sentences.push(sentence);
    start = end;
  }
  const rest = text.slice(start).trim();
  if (rest !== "") sentences.push(rest);
  return sentences;
}

/** Joins consecutive sentences until each chunk has at least `minimumWords` words; the last chunk may be shorter. */
export function packSentences(sentences: readonly string[], minimumWords: number): string[] {
  const chunks: string[] = [];
  let open: string[] = [];
  let words = 0;
  for (const sentence of sentences) {
    open.push(sentence);
    words += wordCount(sentence);
    if (words >= minimumWords) {
      chunks.push(open.join(" "));
      open = [];
      words = 0;
    }
  }
  if (open.length > 0) chunks.push(open.join(" "));
  return chunks;
}

export function wordCount(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}

/** Lower-case words without punctuation, joined by single spaces: the form in which texts are compared. */
export function normalizeForComparison(text: string): string {
  return (
    text
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu)
      ?.join(" ") ?? ""
  );
}

/** Markup and typographic variants out, white space to single blanks. */
export function cleanText(text: string): string {
  return text
    .replace(/<[^>]{1,200}>/g, " ")
    .replace(/&(?:nbsp|#160);/g, " ")
    .replace(/&amp;/g, "&")
    .replace(/[‘’]/g, "'")
    .replace(/[“”]/g, '"')
    .replace(/\s+/g, " ")
    .trim();
}
