import { defineMethod, zeros } from "@peftjs/core";
import type { HostTensor, InitContext, Method, Named } from "@peftjs/core";
import { keyValueSizes, promptShape, promptTarget, withEncoderSizes } from "../virtualTokens/config.ts";
import { encoderStart, normalTable } from "../virtualTokens/encoder.ts";
import { tableFile } from "../virtualTokens/file.ts";
import { PrefixTuningConfig, prefixTuningWire } from "./config.ts";
import { prefixKeysValues, prefixTable } from "./layer.ts";

/**
 * Prefix tuning (Li & Liang 2021): in every block the queries of the text attend to n more keys and values, which are all that
 * learns. RoBERTa-base with n = 20: 368,640 parameters and the head.
 */
export const prefixTuning: Method<PrefixTuningConfig> = defineMethod<PrefixTuningConfig>({
  name: "prefix-tuning",
  description: "Prefix tuning: every block attends to trained keys and values in front of its own.",
  package: "@peftjs/method-classic",
  config: PrefixTuningConfig,
  wire: prefixTuningWire,
  capabilities: { merge: false, multiAdapter: true, identityAtStart: false },
  targets: promptTarget,
  siteConfig: ({ site, config }) => withEncoderSizes(config, keyValueSizes(site)),
  init: (context) => ({ params: start(context) }),
  virtualTokens: ({ params, site }) => ({ keysValues: prefixKeysValues(prefixTable(params), promptShape(site)) }),
  file: (context) => tableFile(context, prefixTable),
  refit: ({ params }) => params ?? {},
});

/** A table of random numbers, or an encoder of one; of zeros, or one that gives zeros. A file is read into a table. */
function start({ site, config, generator, fromFile }: InitContext<PrefixTuningConfig>): Named<HostTensor> {
  const { numVirtualTokens: count, prefixProjection, initWeights } = config;
  const { blocks, keyValueFeatures: width } = promptShape(site);
  const [inner, out] = [config.encoderHiddenSize ?? width, 2 * blocks * width];
  if (!prefixProjection || fromFile === true) {
    const table = normalTable([count, out], generator);
    return { table: initWeights === "zero" ? zeros(table.shape) : table };
  }
  const encoder = encoderStart(count, [width, inner, out], generator);
  return initWeights === "random" ? encoder : { ...encoder, w2: zeros([out, inner]), b2: zeros([out]) };
}
