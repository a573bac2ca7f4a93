import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { FullConfig, fullWire } from "./config.ts";

/** Full fine-tuning: every parameter of the model is trained: θ ← θ + Δθ. The yardstick of the other methods. */
export const full: Method<FullConfig> = defineMethod<FullConfig>({
  name: "full",
  description: "Full fine-tuning: every parameter of the model is trained.",
  package: "@peftjs/method-classic",
  config: FullConfig,
  wire: fullWire,
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: () => null,
  trains: () => true,
});
