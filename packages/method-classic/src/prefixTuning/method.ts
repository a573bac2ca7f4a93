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

/** A file holds the table alone. */
function start({ site, config, generator, fromFile }: InitContext<PrefixTuningConfig>): Named<HostTensor> {
  const { numVirtualTokens: count, prefixProjection, encoderHiddenSize, initWeights } = config;
  const { tokenDim } = keyValueSizes(site) as { tokenDim: number };
  const out = 2 * promptShape(site).blocks * tokenDim;
  if (!prefixProjection || fromFile === true) {
    const table = normalTable([count, out], generator);
    return { table: initWeights === "zero" ? zeros(table.shape) : table };
  }
  const encoder = encoderStart(count, [tokenDim, encoderHiddenSize ?? tokenDim, out], generator);
  if (initWeights === "random") return encoder;
  return { ...encoder, w2: zeros([out, encoderHiddenSize ?? tokenDim]), b2: zeros([out]) };
}
