import type { Architecture } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { encoderArchitecture, type HeadModule } from "../encoder/architecture.ts";
import type { EncoderConfig } from "../encoder/config.ts";
import { outputSize, type EncoderFamily } from "../encoder/family.ts";
import { maskedLogits, maskedRows } from "../encoder/maskedHead.ts";
import { linearParameters, linearSite, normParameters } from "../encoder/parameters.ts";
import { trunk } from "../encoder/trunk.ts";

type FamilyVariant = Pick<EncoderFamily, "modelType" | "basePrefix" | "normOrder">;

function robertaArchitecture(variant: FamilyVariant): Architecture<EncoderConfig> {
  const family: EncoderFamily = {
    ...variant,
    defaults: { vocabSize: 50265, padTokenId: 1 },
    positions: "afterPadding",
    tokenTypes: false,
  };
  return encoderArchitecture(family, { classification: classificationHead(family), maskedLM: maskedHead(family) });
}

/** out_proj(drop(tanh(dense(drop(x₀))))). */
function classificationHead(family: EncoderFamily): HeadModule {
  const path = `${family.basePrefix}.`;
  return {
    parameters: ({ hiddenSize, initializerRange: std }, head) => [
      ...linearParameters("classifier.dense", { inFeatures: hiddenSize, outFeatures: hiddenSize, std }),
      ...linearParameters("classifier.out_proj", { inFeatures: hiddenSize, outFeatures: outputSize(head), std }),
    ],
    sites: ({ hiddenSize }, head) => [
      linearSite("classifier.dense", { role: "classifier", inFeatures: hiddenSize, outFeatures: hiddenSize }),
      linearSite("classifier.out_proj", { role: "classifier", inFeatures: hiddenSize, outFeatures: outputSize(head) }),
    ],
    trained: ["classifier"],
    outputs: (f, config, _head, batch) => {
      const rate = config.classifierDropout ?? config.hiddenDropoutProb;
      const first = trunk(f, batch, { family, config, path, select: { kind: "first" } });
      const inner = tf.tanh(f.linear("classifier.dense", f.dropout(first, rate)));
      return { logits: f.linear("classifier.out_proj", f.dropout(inner, rate)) };
    },
  };
}

/** LN(gelu(dense(x)))·Eᵀ + bias, E the word embeddings; always the exact GELU. */
function maskedHead(family: EncoderFamily): HeadModule {
  const path = `${family.basePrefix}.`;
  const words = `${path}embeddings.word_embeddings.weight`;
  return {
    parameters: ({ hiddenSize, vocabSize, initializerRange: std, tieWordEmbeddings }) => [
      { name: "lm_head.bias", shape: [vocabSize], init: { kind: "zeros" } },
      ...linearParameters("lm_head.dense", { inFeatures: hiddenSize, outFeatures: hiddenSize, std }),
      ...normParameters("lm_head.layer_norm", hiddenSize),
      {
        name: "lm_head.decoder.weight",
        shape: [vocabSize, hiddenSize],
        init: { kind: "normal", std },
        ...(tieWordEmbeddings ? { tiedTo: words } : {}),
      },
      { name: "lm_head.decoder.bias", shape: [vocabSize], init: { kind: "zeros" }, tiedTo: "lm_head.bias" },
    ],
    sites: ({ hiddenSize }) => [
      linearSite("lm_head.dense", { role: "lmHead", inFeatures: hiddenSize, outFeatures: hiddenSize }),
    ],
    trained: [],
    outputs: (f, config, _head, batch) => {
      const rows = trunk(f, batch, { family, config, path, select: maskedRows(batch) });
      const logits = maskedLogits(f, rows, batch, {
        dense: "lm_head.dense",
        norm: "lm_head.layer_norm",
        activation: "gelu",
        epsilon: config.layerNormEps,
        weight: "lm_head.decoder.weight",
        bias: "lm_head.bias",
      });
      return { logits };
    },
  };
}

/** RoBERTa (Liu et al. 2019). */
export const roberta = robertaArchitecture({ modelType: "roberta", basePrefix: "roberta", normOrder: "post" });

/** XLM-RoBERTa (Conneau et al. 2020): RoBERTa's network and names with another vocabulary. */
export const xlmRoberta = robertaArchitecture({ modelType: "xlm-roberta", basePrefix: "roberta", normOrder: "post" });

/** RoBERTa with the layer norms in front of attention and feed-forward (Wettig et al. 2023). */
export const robertaPreLayerNorm = robertaArchitecture({
  modelType: "roberta-prelayernorm",
  basePrefix: "roberta_prelayernorm",
  normOrder: "pre",
});
