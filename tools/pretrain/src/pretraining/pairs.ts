import type { Random } from "../random.ts";
import { SPECIAL_TOKENS } from "../vocabulary/train.ts";

export const CLS = SPECIAL_TOKENS.indexOf("[CLS]");
export const SEP = SPECIAL_TOKENS.indexOf("[SEP]");

/** What the label says: 0, the second segment follows the first. */
const FOLLOWS = 0;
const DOES_NOT = 1;

export interface PairSource {
  /** The corpus: paragraphs joined by [SEP]. */
  readonly tokens: Uint16Array;
  readonly start: number;
  readonly random: Random;
}

/**
 * Fills a row with [CLS] A [SEP] B [SEP] and returns its label. In half of the rows B follows A in the text; else the two are
 * exchanged (a quarter: their order has to be read, Lan et al. 2019) or B comes from elsewhere (a quarter, Devlin et al. 2018).
 */
export function fillPair(row: Int32Array, { tokens, start, random }: PairSource): number {
  const room = row.length - 3;
  const text = words(tokens, start, room);
  const cut = cutNearMiddle(tokens, start, room, random);
  const [first, second] = [text.slice(0, cut), text.slice(cut)];
  const draw = random.uniform();
  if (draw < 0.5) return join(row, first, second, FOLLOWS);
  if (draw < 0.75) return join(row, second, first, DOES_NOT);
  const elsewhere = random.below(tokens.length - 2 * room);
  return join(row, first, words(tokens, elsewhere, second.length), DOES_NOT);
}

function join(row: Int32Array, first: Int32Array, second: Int32Array, label: number): number {
  row[0] = CLS;
  row.set(first, 1);
  row[first.length + 1] = SEP;
  row.set(second, first.length + 2);
  row[row.length - 1] = SEP;
  return label;
}

/** The next `count` tokens without the marks between paragraphs; near the end of the corpus it begins again. */
function words(tokens: Uint16Array, start: number, count: number): Int32Array {
  const found = new Int32Array(count);
  for (let i = start, n = 0; n < count; i++) {
    const token = tokens[i % tokens.length] as number;
    if (token !== SEP) found[n++] = token;
  }
  return found;
}

/** Where A ends: at the end of a paragraph in the middle half if there is one, else anywhere in it. */
function cutNearMiddle(tokens: Uint16Array, start: number, room: number, random: Random): number {
  const [from, to] = [Math.floor(room / 4), Math.ceil((3 * room) / 4)];
  for (let i = start, n = 0; n < to; i++) {
    if (tokens[i % tokens.length] !== SEP) n++;
    else if (n >= from) return n;
  }
  return from + random.below(to - from);
}
