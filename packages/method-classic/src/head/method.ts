import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { identityLoraBuffers, identityLoraTarget } from "../interchange/identityLora.ts";
import { HeadConfig, headWire } from "./config.ts";

/** Head-only training (linear probing): the trunk is frozen, the task head alone learns. The lower yardstick. */
export const head: Method<HeadConfig> = defineMethod<HeadConfig>({
  name: "head",
  description: "Head-only training: the trunk is frozen, only the task head learns.",
  package: "@peftjs/method-classic",
  config: HeadConfig,
  wire: headWire,
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: ({ modulesToSave }) => ({ ...identityLoraTarget, modulesToSave }),
  init: ({ site }) => ({ params: {}, buffers: identityLoraBuffers(site) }),
});
