import type { Method } from "@peftjs/core";
import { bitfit, head, prefixTuning, promptTuning, pTuning } from "@peftjs/method-classic";
import { ia3 } from "@peftjs/method-ia3";
import { adalora, dora, eva, lora, loraplus, olora, pissa, rslora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";
import { sift } from "@peftjs/method-sift";

const shape = {
  vocab_size: 80,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 48,
  max_position_embeddings: 40,
  layer_norm_eps: 1e-12,
  hidden_act: "gelu",
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  initializer_range: 0.2,
};

/** Tiny models that both libraries build from their config.json. */
export const families: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bert: {
    ...shape,
    model_type: "bert",
    architectures: ["BertForSequenceClassification"],
    type_vocab_size: 2,
    pad_token_id: 0,
  },
  roberta: {
    ...shape,
    model_type: "roberta",
    architectures: ["RobertaForSequenceClassification"],
    type_vocab_size: 1,
    pad_token_id: 1,
    bos_token_id: 0,
    eos_token_id: 2,
  },
};

/** How an adapter is exchanged. */
export interface ExchangeOptions {
  /** Its own form is saved. */
  readonly native?: boolean;
  /** Another type of file that it is written as; what Python makes of it is read by the same method again. */
  readonly as?: string;
  /** Part of the names of trained parameters that Python leaves as they are, because the method that reads them cannot say others. */
  readonly kept?: string;
}

/** An adapter to exchange: a method and its config. */
export interface ExchangeCase extends ExchangeOptions {
  readonly method: Method;
  readonly config: object;
}

function use<Config extends object>(
  method: Method<Config>,
  config: object,
  options: ExchangeOptions = {},
): ExchangeCase {
  return { ...options, method: method as unknown as Method, config };
}

/** The factors of LoRA that are one-hot. */
const [rows, columns] = [
  { as: "lora", kept: "lora_B.default.weight" },
  { as: "lora", kept: "lora_A.default.weight" },
];

/** Every method, and every choice that changes what its file holds. */
export const cases: Readonly<Record<string, ExchangeCase>> = {
  lora: use(lora, { rank: 4, alpha: 8 }),
  "lora-all-linear": use(lora, { rank: 3, targetModules: "all-linear", initLoraWeights: "gaussian" }),
  "lora-patterns": use(lora, {
    rank: 4,
    useRslora: true,
    loraBias: true,
    bias: "lora_only",
    targetModules: ["query", "dense"],
    excludeModules: ["pooler.dense"],
    rankPattern: { "layer.0.output.dense": 2 },
    alphaPattern: { query: 3 },
  }),
  "lora-bias-all": use(lora, { rank: 2, bias: "all", layersToTransform: [1], targetModules: ["query", "key"] }),
  "lora-embedding": use(lora, { rank: 2, targetModules: ["word_embeddings", "value"] }),
  "lora-roles": use(lora, { rank: 2, targetRoles: ["ffnUp", "ffnDown"], initLoraWeights: "orthogonal" }),
  "lora-tokens": use(lora, { rank: 2, trainableTokenIndices: [5, 9, 40] }),
  rslora: use(rslora, { rank: 4, alpha: 8 }),
  loraplus: use(loraplus, { rank: 4 }),
  dora: use(dora, { rank: 4, alpha: 8 }),
  "dora-all-linear": use(dora, { rank: 2, targetModules: "all-linear" }),
  "dora-embedding": use(dora, { rank: 2, targetModules: ["word_embeddings", "value"] }),
  adalora: use(adalora, { initRank: 4, targetRank: 2, tinit: 1, tfinal: 2 }),
  "adalora-unpruned": use(adalora, { initRank: 3, targetRank: 3, targetModules: ["query", "value"] }),
  pissa: use(pissa, { rank: 4, alpha: 4 }),
  "pissa-rslora": use(pissa, { rank: 4, alpha: 6, useRslora: true, initLoraWeights: "pissa" }),
  "pissa-native": use(pissa, { rank: 4, alpha: 4, initLoraWeights: "pissa" }, { native: true }),
  olora: use(olora, { rank: 4, alpha: 4 }),
  "olora-native": use(olora, { rank: 4, alpha: 4 }, { native: true }),
  eva: use(eva, { rank: 4, alpha: 4, eva: { rho: 2 } }),
  "eva-all-linear": use(eva, { rank: 3, targetModules: "all-linear", eva: { rho: 1.5, whiten: true } }),
  ia3: use(ia3, {}),
  "ia3-paper": use(ia3, { placement: "paper" }),
  "ia3-named": use(ia3, {
    targetModules: ["query", "value", "intermediate.dense"],
    feedforwardModules: ["intermediate.dense"],
  }),
  "ia3-all-linear": use(ia3, { targetModules: "all-linear", initIa3Weights: false }),
  "rocoft-rows": use(rocoft, {}, rows),
  "rocoft-rows-random": use(rocoft, { rank: 40, select: "random", bias: "none" }, rows),
  "rocoft-columns": use(rocoft, { mode: "column", head: "restricted", parameterisation: "absolute" }, columns),
  "rocoft-columns-random": use(
    rocoft,
    { mode: "column", rank: 2, select: "random", rankPattern: { query: 1 } },
    columns,
  ),
  "rocoft-entries": use(rocoft, { mode: "entries", density: 0.15, bias: "none" }, { as: "shira" }),
  "rocoft-entries-rank": use(rocoft, { mode: "entries", matchRank: 2, bias: "none" }, { as: "shira" }),
  sift: use(sift, { loraRank: 2 }, { as: "shira" }),
  "sift-rate": use(
    sift,
    { rate: 0.1, includeBias: false, targetModules: "all-linear", selectionBatches: 2 },
    { as: "shira" },
  ),
  "prompt-tuning": use(promptTuning, { numVirtualTokens: 5 }),
  "prompt-tuning-vocabulary": use(promptTuning, { numVirtualTokens: 3, promptTuningInit: "SAMPLE_VOCAB" }),
  "prefix-tuning": use(prefixTuning, { numVirtualTokens: 5 }),
  "prefix-tuning-projected": use(prefixTuning, { numVirtualTokens: 4, prefixProjection: true, encoderHiddenSize: 12 }),
  "p-tuning": use(pTuning, { numVirtualTokens: 5, encoderHiddenSize: 12 }),
  bitfit: use(bitfit, {}),
  head: use(head, {}),
};
