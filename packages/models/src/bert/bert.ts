import type { Architecture } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { encoderArchitecture, poolerModule, type HeadModule } from "../encoder/architecture.ts";
import type { EncoderConfig } from "../encoder/config.ts";
import { outputSize, type EncoderFamily } from "../encoder/family.ts";
import { maskedLogits, maskedRows, type MaskedHeadSpec } from "../encoder/maskedHead.ts";
import { linearParameters, linearSite, normParameters } from "../encoder/parameters.ts";
import { pool } from "../encoder/pooler.ts";
import { trunk } from "../encoder/trunk.ts";

const family: EncoderFamily = {
  modelType: "bert",
  basePrefix: "bert",
  defaults: { vocabSize: 30522, padTokenId: 0 },
  normOrder: "post",
  positions: "fromZero",
  tokenTypes: true,
};

const pooler = poolerModule("bert.");

/** classifier(drop(tanh(pooler(x₀)))). */
const classification: HeadModule = {
  parameters: (config, head) => [
    ...pooler.parameters(config, head),
    ...linearParameters("classifier", {
      inFeatures: config.hiddenSize,
      outFeatures: outputSize(head),
      std: config.initializerRange,
    }),
  ],
  sites: (config, head) => [
    ...pooler.sites(config, head),
    linearSite("classifier", { role: "classifier", inFeatures: config.hiddenSize, outFeatures: outputSize(head) }),
  ],
  trained: ["classifier"],
  outputs: (f, config, _head, batch) => {
    const pooled = pool(f, "bert.", trunk(f, batch, { family, config, path: "bert.", select: { kind: "first" } }));
    return { logits: f.linear("classifier", f.dropout(pooled, config.classifierDropout ?? config.hiddenDropoutProb)) };
  },
};

const transform = "cls.predictions.transform";
const decoder = "cls.predictions.decoder";
const words = "bert.embeddings.word_embeddings.weight";

/** LN(act(dense(x)))·Eᵀ + bias, E the word embeddings. */
const maskedLM: HeadModule = {
  parameters: ({ hiddenSize, vocabSize, initializerRange: std, tieWordEmbeddings }) => [
    { name: "cls.predictions.bias", shape: [vocabSize], init: { kind: "zeros" } },
    ...linearParameters(`${transform}.dense`, { inFeatures: hiddenSize, outFeatures: hiddenSize, std }),
    ...normParameters(`${transform}.LayerNorm`, hiddenSize),
    {
      name: `${decoder}.weight`,
      shape: [vocabSize, hiddenSize],
      init: { kind: "normal", std },
      ...(tieWordEmbeddings ? { tiedTo: words } : {}),
    },
    { name: `${decoder}.bias`, shape: [vocabSize], init: { kind: "zeros" }, tiedTo: "cls.predictions.bias" },
  ],
  sites: ({ hiddenSize }) => [
    linearSite(`${transform}.dense`, { role: "lmHead", inFeatures: hiddenSize, outFeatures: hiddenSize }),
  ],
  trained: [],
  outputs: (f, config, _head, batch) => {
    const rows = trunk(f, batch, { family, config, path: "bert.", select: maskedRows(batch) });
    return { logits: maskedLogits(f, rows, batch, maskedSpec(config)) };
  },
};

function maskedSpec(config: EncoderConfig): MaskedHeadSpec {
  return {
    dense: `${transform}.dense`,
    norm: `${transform}.LayerNorm`,
    activation: config.hiddenAct,
    epsilon: config.layerNormEps,
    weight: `${decoder}.weight`,
    bias: "cls.predictions.bias",
  };
}

const relationship = "cls.seq_relationship";

/**
 * Masked LM at `masked_positions` int32 [M] → `logits` [M, V], and W·tanh(pooler(x₀)) + b → `seq_relationship_logits` [B, 2]
 * (0: the second segment follows the first). The last block computes the first tokens and the masked ones alone.
 */
const preTraining: HeadModule = {
  parameters: (config, head) => [
    ...pooler.parameters(config, head),
    ...maskedLM.parameters(config, head),
    ...linearParameters(relationship, { inFeatures: config.hiddenSize, outFeatures: 2, std: config.initializerRange }),
  ],
  sites: (config, head) => [
    ...pooler.sites(config, head),
    ...maskedLM.sites(config, head),
    linearSite(relationship, { role: "classifier", inFeatures: config.hiddenSize, outFeatures: 2 }),
  ],
  trained: [],
  outputs: (f, config, _head, batch) => {
    const [rows, length] = (batch["input_ids"] as tf.Tensor2D).shape;
    const masked = batch["masked_positions"] as tf.Tensor1D;
    const indices = tf.concat([tf.range(0, rows * length, length, "int32"), masked]) as tf.Tensor1D;
    const states = trunk(f, batch, { family, config, path: "bert.", select: { kind: "rows", indices } });
    const [first, others] = tf.split(states, [rows, masked.size]) as [tf.Tensor2D, tf.Tensor2D];
    return {
      logits: maskedLogits(f, others, batch, maskedSpec(config)),
      seq_relationship_logits: f.linear(relationship, pool(f, "bert.", first)),
    };
  },
};

/** BERT (Devlin et al. 2019). */
export const bert: Architecture<EncoderConfig> = encoderArchitecture(family, { classification, maskedLM, preTraining });
