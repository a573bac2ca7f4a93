import type { Architecture } from "@peftjs/core";
import { encoderArchitecture, poolerModule, type HeadModule } from "../encoder/architecture.ts";
import type { EncoderConfig } from "../encoder/config.ts";
import { outputSize, type EncoderFamily } from "../encoder/family.ts";
import { maskedLogits, maskedRows } from "../encoder/maskedHead.ts";
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
  logits: (f, config, _head, batch) => {
    const pooled = pool(f, "bert.", trunk(f, batch, { family, config, path: "bert.", select: { kind: "first" } }));
    return f.linear("classifier", f.dropout(pooled, config.classifierDropout ?? config.hiddenDropoutProb));
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
  logits: (f, config, _head, batch) => {
    const rows = trunk(f, batch, { family, config, path: "bert.", select: maskedRows(batch) });
    return maskedLogits(f, rows, batch, {
      dense: `${transform}.dense`,
      norm: `${transform}.LayerNorm`,
      activation: config.hiddenAct,
      epsilon: config.layerNormEps,
      weight: `${decoder}.weight`,
      bias: "cls.predictions.bias",
    });
  },
};

/** BERT (Devlin et al. 2019). */
export const bert: Architecture<EncoderConfig> = encoderArchitecture(family, { classification, maskedLM });
