import { PeftError } from "@peftjs/core";
import { z } from "zod";
import { activation } from "../blocks/activations.ts";

/** What BERT-like encoders read from config.json. */
export interface EncoderConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly intermediateSize: number;
  readonly hiddenAct: string;
  readonly hiddenDropoutProb: number;
  readonly attentionProbsDropoutProb: number;
  readonly maxPositionEmbeddings: number;
  readonly typeVocabSize: number;
  readonly initializerRange: number;
  readonly layerNormEps: number;
  readonly padTokenId: number;
  /** Dropout in front of the classifier; null: `hiddenDropoutProb`. */
  readonly classifierDropout: number | null;
  readonly tieWordEmbeddings: boolean;
}

/** Values that differ between the families when a file does not say. */
export interface EncoderDefaults {
  readonly vocabSize: number;
  readonly padTokenId: number;
}

const size = z.int().positive();
const rate = z.number().min(0).lt(1);

/** Keys of config.json with the defaults of the Python library's classes. */
function wireSchema(defaults: EncoderDefaults) {
  return z.looseObject({
    vocab_size: size.default(defaults.vocabSize),
    hidden_size: size.default(768),
    num_hidden_layers: size.default(12),
    num_attention_heads: size.default(12),
    intermediate_size: size.default(3072),
    hidden_act: z.string().default("gelu"),
    hidden_dropout_prob: rate.default(0.1),
    attention_probs_dropout_prob: rate.default(0.1),
    max_position_embeddings: size.default(512),
    type_vocab_size: size.default(2),
    initializer_range: z.number().nonnegative().default(0.02),
    layer_norm_eps: z.number().positive().default(1e-12),
    pad_token_id: z.int().nonnegative().default(defaults.padTokenId),
    classifier_dropout: rate.optional(),
    tie_word_embeddings: z.boolean().default(true),
    position_embedding_type: z.literal("absolute", { error: 'only "absolute" is supported' }).optional(),
    is_decoder: z.literal(false, { error: "decoders of this family are not supported" }).optional(),
    add_cross_attention: z.literal(false, { error: "cross-attention is not supported" }).optional(),
  });
}

/** Reads config.json; `null` means absent. Throws `CONFIG_INVALID` naming the key. */
export function parseEncoderConfig(json: unknown, defaults: EncoderDefaults): EncoderConfig {
  const parsed = wireSchema(defaults).safeParse(withoutNulls(json));
  if (!parsed.success) {
    throw new PeftError(
      "CONFIG_INVALID",
      `config.json cannot be used:\n${z.prettifyError(parsed.error)}\nCorrect the file, or use another model.`,
    );
  }
  const wire = parsed.data;
  if (wire.hidden_size % wire.num_attention_heads !== 0) {
    throw new PeftError(
      "CONFIG_INVALID",
      `hidden_size ${wire.hidden_size} is not a multiple of num_attention_heads ${wire.num_attention_heads}. Correct config.json.`,
    );
  }
  if (wire.pad_token_id >= wire.vocab_size) {
    throw new PeftError(
      "CONFIG_INVALID",
      `pad_token_id ${wire.pad_token_id} is outside the vocabulary of ${wire.vocab_size}. Correct config.json.`,
    );
  }
  activation(wire.hidden_act);
  return {
    vocabSize: wire.vocab_size,
    hiddenSize: wire.hidden_size,
    numHiddenLayers: wire.num_hidden_layers,
    numAttentionHeads: wire.num_attention_heads,
    intermediateSize: wire.intermediate_size,
    hiddenAct: wire.hidden_act,
    hiddenDropoutProb: wire.hidden_dropout_prob,
    attentionProbsDropoutProb: wire.attention_probs_dropout_prob,
    maxPositionEmbeddings: wire.max_position_embeddings,
    typeVocabSize: wire.type_vocab_size,
    initializerRange: wire.initializer_range,
    layerNormEps: wire.layer_norm_eps,
    padTokenId: wire.pad_token_id,
    classifierDropout: wire.classifier_dropout ?? null,
    tieWordEmbeddings: wire.tie_word_embeddings,
  };
}

function withoutNulls(json: unknown): unknown {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return json;
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
}
