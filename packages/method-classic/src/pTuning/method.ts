import { defineMethod, PeftError } from "@peftjs/core";
import type { HostTensor, InitContext, Method, Named } from "@peftjs/core";
import { embeddingSizes, promptTarget, withEncoderSizes } from "../virtualTokens/config.ts";
import { encoderStart, normalTable } from "../virtualTokens/encoder.ts";
import { tableFile } from "../virtualTokens/file.ts";
import { PTuningConfig, pTuningWire } from "./config.ts";
import { virtualEmbeddings } from "./layer.ts";

/**
 * P-tuning (Liu et al. 2021): prompt tuning whose embeddings come out of a small network, which learns with its input. Afterwards the
 * embeddings alone are kept. RoBERTa-base with n = 20, h = 128: 229,376 parameters and the head.
 */
export const pTuning: Method<PTuningConfig> = defineMethod<PTuningConfig>({
  name: "p-tuning",
  description: "P-tuning: word embeddings in front of every input, made by a small network that is trained.",
  package: "@peftjs/method-classic",
  config: PTuningConfig,
  wire: pTuningWire,
  capabilities: { merge: false, multiAdapter: true, identityAtStart: false },
  targets: promptTarget,
  siteConfig: ({ site, config }) => withEncoderSizes(config, embeddingSizes(site)),
  init: (context) => ({ params: start(context) }),
  virtualTokens: ({ params }) => ({ embeddings: virtualEmbeddings(params) }),
  file: (context) => tableFile(context, virtualEmbeddings),
  refit: ({ params }) => params ?? {},
});

/**
 * The encoder and its input. A file, which holds the embeddings alone, is read into a table.
 * @throws PeftError `CONFIG_INVALID` for a new LSTM.
 */
function start({ site, config, generator, fromFile }: InitContext<PTuningConfig>): Named<HostTensor> {
  const { numVirtualTokens: count, encoderReparameterizationType: kind, encoderHiddenSize } = config;
  const width = site.outFeatures;
  if (fromFile === true) return { table: normalTable([count, width], generator) };
  if (kind === "LSTM") {
    throw new PeftError(
      "CONFIG_INVALID",
      'encoderReparameterizationType "LSTM" is for files that were trained so; a new adapter has no such encoder. Take "MLP", which the Python library recommends as well.',
    );
  }
  const inner = encoderHiddenSize ?? width;
  return encoderStart(count, [width, inner, inner, width], generator);
}
