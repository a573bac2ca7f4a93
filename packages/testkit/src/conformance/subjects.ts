import { createGenerator, int32 } from "@peftjs/core";
import type { BaseModel, HostTensor, Named } from "@peftjs/core";
import { fromConfig } from "@peftjs/models";
import type { Frozen } from "@peftjs/models";

const ROWS = 4;
const TOKENS = 6;
const VOCABULARY = 32;

const shape = {
  vocab_size: VOCABULARY,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
  max_position_embeddings: 12,
  // Large enough that a change of a weight shows in the output.
  initializer_range: 0.4,
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
};

const configs = {
  bert: { ...shape, model_type: "bert", type_vocab_size: 2, pad_token_id: 0 },
  roberta: { ...shape, model_type: "roberta", type_vocab_size: 1, pad_token_id: 1, layer_norm_eps: 1e-5 },
} as const;

export type Family = keyof typeof configs;
export const families = Object.keys(configs) as Family[];

/** A tiny classifier with three labels; equal for equal seeds. Two blocks and no dropout unless the options say otherwise. */
export function tinyModel(
  family: Family,
  { seed = 3, dropout = 0, blocks = shape.num_hidden_layers, frozen = "float32" }: TinyModelOptions = {},
): BaseModel {
  const json = {
    ...configs[family],
    ...{ hidden_dropout_prob: dropout, attention_probs_dropout_prob: dropout, num_hidden_layers: blocks },
  };
  return fromConfig(json, { labels: ["a", "b", "c"], seed, frozen, name: `tiny-${family}` });
}

export interface TinyModelOptions {
  readonly seed?: number;
  readonly dropout?: number;
  readonly blocks?: number;
  readonly frozen?: Frozen;
}

/** Batch `index` of a fixed sequence: random tokens, padded rows, random labels. */
export function batchAt(family: Family, index: number): Named<HostTensor> {
  const generator = createGenerator(100 + index);
  const draw = (count: number, low: number, high: number): number[] =>
    Array.from(generator.uniform(count, low, high), Math.floor);
  const ids = draw(ROWS * TOKENS, 4, VOCABULARY);
  const lengths = draw(ROWS, 3, TOKENS + 1);
  const isToken = (position: number): boolean => position % TOKENS < (lengths[Math.floor(position / TOKENS)] as number);
  return {
    input_ids: int32(
      ids.map((id, i) => (isToken(i) ? id : configs[family].pad_token_id)),
      [ROWS, TOKENS],
    ),
    attention_mask: int32(
      ids.map((_, i) => (isToken(i) ? 1 : 0)),
      [ROWS, TOKENS],
    ),
    labels: int32(draw(ROWS, 0, 3), [ROWS]),
  };
}

/** The first eight batches, for methods that look at data before they start. */
export function calibrationBatches(family: Family): readonly Named<HostTensor>[] {
  return Array.from({ length: 8 }, (_, index) => batchAt(family, index));
}
