import { defineMethod, isBias } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { identityLoraBuffers, identityLoraTarget } from "../interchange/identityLora.ts";
import { BitFitConfig, bitfitWire } from "./config.ts";

/**
 * BitFit (Ben Zaken et al. 2022): only the bias terms b of y = x·Wᵀ + b, layer norms' β included, are trained.
 * RoBERTa-base: 102,144 parameters and the head.
 */
export const bitfit: Method<BitFitConfig> = defineMethod<BitFitConfig>({
  name: "bitfit",
  description: "BitFit: only the bias vectors of the model are trained.",
  package: "@peftjs/method-classic",
  config: BitFitConfig,
  wire: bitfitWire,
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: ({ modulesToSave }) => ({ ...identityLoraTarget, modulesToSave }),
  init: ({ site }) => ({ params: {}, buffers: identityLoraBuffers(site) }),
  trains: ({ name }) => isBias(name),
});
