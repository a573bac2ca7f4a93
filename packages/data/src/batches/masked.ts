import { createGenerator, float32, int32, PeftError } from "@peftjs/core";
import type { Generator, HostTensor } from "@peftjs/core";
import { collate } from "./collate.ts";
import type { Encoded } from "./examples.ts";
import { mixSeeds } from "./seeds.ts";

export interface MaskingOptions {
  readonly padTokenId: number;
  readonly maskTokenId: number;
  readonly vocabularySize: number;
  /** Tokens that are never masked: padding, [CLS], [SEP], … */
  readonly specialTokenIds: readonly number[];
  /** Tokens of every row, T. */
  readonly length: number;
  /** Share of the tokens to predict. Default: 0.15. */
  readonly rate?: number;
  readonly batchSize?: number;
  readonly seed: number;
  /** Number of the batch: with the seed it decides what is masked. */
  readonly index: number;
}

/** Of the chosen tokens, 80 % become the mask and 10 % a random token; the rest stay (Devlin et al. 2019, section 3.1). */
const SHARES = { mask: 0.8, random: 0.1 };

/**
 * A batch for masked-LM training: that of `collate` with tokens hidden in `input_ids`, and the places to predict as lists of
 * M = ⌊rate·B·T⌋ entries, whatever the texts: `masked_positions` int32 (flat, row·T + place), `masked_labels` int32 (the tokens
 * that stood there) and `masked_weights` float32 (1, or 0 for an entry that only fills up).
 */
export function collateMasked(examples: readonly Encoded[], options: MaskingOptions): Record<string, HostTensor> {
  const { padTokenId, length, rate = 0.15 } = options;
  const size = options.batchSize ?? examples.length;
  const capacity = Math.floor(rate * size * length);
  if (!(rate > 0 && rate < 1) || capacity < 1) {
    throw new PeftError(
      "INVALID_MASK_RATE",
      `A rate of ${rate} masks no token of ${size} × ${length}. Expected a number between 0 and 1 that leaves at least one.`,
    );
  }
  const generator = createGenerator(mixSeeds(options.seed, options.index));
  const batch = collate(examples, { padTokenId, length, batchSize: size });
  const ids = (batch["input_ids"] as HostTensor).data as Int32Array;
  const chosen = choosePlaces(ids, {
    special: new Set([...options.specialTokenIds, padTokenId]),
    capacity,
    rate,
    generator,
  });

  const positions = new Int32Array(capacity);
  const labels = new Int32Array(capacity);
  const weights = new Float32Array(capacity);
  const fates = generator.uniform(chosen.length);
  chosen.forEach((place, i) => {
    positions[i] = place;
    labels[i] = ids[place] as number;
    weights[i] = 1;
    ids[place] = hidden(labels[i] as number, { fate: fates[i] as number, options, generator });
  });
  return {
    ...batch,
    masked_positions: int32(positions, [capacity]),
    masked_labels: int32(labels, [capacity]),
    masked_weights: float32(weights, [capacity]),
  };
}

/** Places of ordinary tokens, ⌈rate·number of them⌉ but at most `capacity`, in rising order. */
function choosePlaces(
  ids: Int32Array,
  {
    special,
    capacity,
    rate,
    generator,
  }: { special: ReadonlySet<number>; capacity: number; rate: number; generator: Generator },
): Int32Array {
  const places: number[] = [];
  ids.forEach((id, place) => {
    if (!special.has(id)) places.push(place);
  });
  const count = Math.min(capacity, Math.ceil(rate * places.length));
  const order = generator.permutation(places.length).subarray(0, count);
  return Int32Array.from(order, (index) => places[index] as number).sort();
}

function hidden(
  id: number,
  { fate, options, generator }: { fate: number; options: MaskingOptions; generator: Generator },
): number {
  if (fate < SHARES.mask) return options.maskTokenId;
  return fate < SHARES.mask + SHARES.random ? generator.next32() % options.vocabularySize : id;
}
