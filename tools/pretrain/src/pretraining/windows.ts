import type { HostTensor, Named } from "@peftjs/core";
import { int32 } from "@peftjs/core";
import { collateMasked } from "@peftjs/data";
import { createRandom, shuffled } from "../random.ts";
import { SPECIAL_TOKENS } from "../vocabulary/train.ts";
import { CLS, fillPair, SEP } from "./pairs.ts";

const PAD = SPECIAL_TOKENS.indexOf("[PAD]");
const UNKNOWN = SPECIAL_TOKENS.indexOf("[UNK]");
const MASK = SPECIAL_TOKENS.indexOf("[MASK]");

export interface WindowOptions {
  /** The corpus: paragraphs joined by [SEP]. */
  readonly tokens: Uint16Array;
  readonly vocabularySize: number;
  /** Tokens of a window, [CLS] and the closing [SEP] included. */
  readonly length: number;
  readonly batchSize: number;
  /** Share of a batch's tokens whose original is to be predicted. */
  readonly maskRate: number;
  readonly seed: number;
  /** Two segments per window, of which the second follows the first in half of them; see `pairs.ts`. */
  readonly pairs?: boolean;
}

/** Masked-LM batches over a token stream. Batch i is a function of the options and i alone. */
export class MaskedWindows {
  readonly batchesPerEpoch: number;
  readonly #options: WindowOptions;
  readonly #windows: number;
  #epoch = -1;
  #order: readonly number[] = [];

  constructor(options: WindowOptions) {
    this.#options = options;
    // One window less than fits: every epoch starts at another offset.
    this.#windows = Math.floor(options.tokens.length / this.#stride) - 1;
    this.batchesPerEpoch = Math.floor(this.#windows / options.batchSize);
  }

  get #stride(): number {
    return this.#options.length - 2;
  }

  /** A batch of `collateMasked`; with pairs also `next_sentence_label` int32 [B], 0 where the second segment follows the first. */
  batchAt(index: number): Named<HostTensor> {
    const { batchSize, length, seed, vocabularySize, maskRate: rate, pairs = false } = this.#options;
    const epoch = Math.floor(index / this.batchesPerEpoch);
    this.#enter(epoch);
    const first = (index % this.batchesPerEpoch) * batchSize;
    const random = createRandom(Math.imul(seed + 1, 0x9e3779b1) ^ index);
    const offset = createRandom(seed + epoch).below(this.#stride);
    const relations: number[] = [];
    const rows = this.#order.slice(first, first + batchSize).map((window) => {
      const row = new Int32Array(length);
      const start = offset + window * this.#stride;
      if (pairs) relations.push(fillPair(row, { tokens: this.#options.tokens, start, random }));
      else this.#fill(row, start);
      return { inputIds: row, tokenTypeIds: segments(row) };
    });
    const options = { padTokenId: PAD, maskTokenId: MASK, specialTokenIds: [UNKNOWN, CLS, SEP] };
    const batch = collateMasked(rows, { ...options, vocabularySize, length, rate, seed, index });
    return pairs ? { ...batch, next_sentence_label: int32(relations, [batchSize]) } : batch;
  }

  #enter(epoch: number): void {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#order = shuffled(
      Array.from({ length: this.#windows }, (_, i) => i),
      createRandom(this.#options.seed * 7919 + epoch),
    );
  }

  #fill(row: Int32Array, start: number): void {
    row[0] = CLS;
    row.set(this.#options.tokens.subarray(start, start + this.#stride), 1);
    row[row.length - 1] = SEP;
  }
}

/** Tokens after the first [SEP] are the second segment, so that the model knows both types. */
function segments(row: Int32Array): Int32Array {
  return new Int32Array(row.length).fill(1, row.indexOf(SEP) + 1);
}
