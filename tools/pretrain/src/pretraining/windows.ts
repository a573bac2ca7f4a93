import type { HostTensor, Named } from "@peftjs/core";
import { float32, int32 } from "@peftjs/core";
import { createRandom, shuffled } from "../random.ts";
import { SPECIAL_TOKENS } from "../vocabulary/train.ts";
import { CLS, fillPair, SEP } from "./pairs.ts";

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

  /**
   * `input_ids`, `token_type_ids`, `attention_mask` int32 [B, T]; `masked_positions`, `masked_labels` int32 [M] and
   * `masked_weights` float32 [M] with M = round(maskRate·B·T): of the chosen tokens 80 % become [MASK], 10 % another token, 10 % stay.
   * With pairs also `next_sentence_label` int32 [B], 0 where the second segment follows the first.
   */
  batchAt(index: number): Named<HostTensor> {
    const { batchSize, length, seed } = this.#options;
    const epoch = Math.floor(index / this.batchesPerEpoch);
    this.#enter(epoch);
    const first = (index % this.batchesPerEpoch) * batchSize;
    const random = createRandom(Math.imul(seed + 1, 0x9e3779b1) ^ index);
    const ids = new Int32Array(batchSize * length);
    const types = new Int32Array(batchSize * length);
    const offset = createRandom(seed + epoch).below(this.#stride);
    const relations = new Int32Array(batchSize);
    for (let row = 0; row < batchSize; row++) {
      const target = ids.subarray(row * length, (row + 1) * length);
      const start = offset + (this.#order[first + row] as number) * this.#stride;
      if (this.#options.pairs === true)
        relations[row] = fillPair(target, { tokens: this.#options.tokens, start, random });
      else this.#fill(target, start);
      markSecondSegment(target, types.subarray(row * length, (row + 1) * length));
    }
    const { positions, labels } = this.#mask(ids, random);
    const shape = [batchSize, length];
    return {
      input_ids: int32(ids, shape),
      token_type_ids: int32(types, shape),
      attention_mask: int32(new Int32Array(ids.length).fill(1), shape),
      masked_positions: int32(positions, [positions.length]),
      masked_labels: int32(labels, [labels.length]),
      masked_weights: float32(new Float32Array(labels.length).fill(1), [labels.length]),
      ...(this.#options.pairs === true ? { next_sentence_label: int32(relations, [batchSize]) } : {}),
    };
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

  #mask(ids: Int32Array, random: ReturnType<typeof createRandom>): { positions: Int32Array; labels: Int32Array } {
    const { maskRate, vocabularySize } = this.#options;
    const candidates: number[] = [];
    ids.forEach((id, i) => {
      if (id !== CLS && id !== SEP && id !== UNKNOWN) candidates.push(i);
    });
    const count = Math.round(maskRate * ids.length);
    // A partial Fisher-Yates shuffle: the first `count` places are a uniform choice.
    for (let i = 0; i < count; i++) {
      const j = i + random.below(candidates.length - i);
      [candidates[i], candidates[j]] = [candidates[j] as number, candidates[i] as number];
    }
    const positions = Int32Array.from(candidates.slice(0, count)).sort();
    const labels = positions.map((position) => ids[position] as number);
    for (const position of positions) {
      const draw = random.uniform();
      if (draw < 0.8) ids[position] = MASK;
      else if (draw < 0.9) ids[position] = SPECIAL_TOKENS.length + random.below(vocabularySize - SPECIAL_TOKENS.length);
    }
    return { positions, labels };
  }
}

/** Tokens after the first [SEP] are the second segment, so that the model knows both types. */
function markSecondSegment(row: Int32Array, types: Int32Array): void {
  const end = row.indexOf(SEP);
  types.fill(1, end + 1);
}
