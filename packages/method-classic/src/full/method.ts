import { defineMethod, layerParameters } from "@peftjs/core";
import type { Method, TargetConfig } from "@peftjs/core";
import { FullConfig, fullWire, isTargeted } from "./config.ts";

/**
 * Full fine-tuning: θ ← θ + Δθ. Every parameter of the model, or the weight and the bias of the targeted layers y = x·Wᵀ + b and the
 * task head. The yardstick of the other methods.
 */
export const full: Method<FullConfig> = defineMethod<FullConfig>({
  name: "full",
  description: "Full fine-tuning: every parameter of the model is trained, or those of the layers that are targeted.",
  package: "@peftjs/method-classic",
  config: FullConfig,
  wire: fullWire,
  // It trains the weights themselves, as float32 copies.
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true, quantizedBase: "values" },
  // What is trained as a whole needs no copies of single modules.
  resolve: (config) => (isTargeted(config) ? config : { ...config, modulesToSave: [] }),
  targets: targetsOf,
  trains: ({ name, targets, config }) =>
    !isTargeted(config) || targets.some((site) => layerParameters(site).includes(name)),
});

/** Blocks or exclusions alone choose among all linear layers: an architecture's default targets are meant for adapters. */
function targetsOf(config: FullConfig): TargetConfig | null {
  if (!isTargeted(config)) return null;
  return config.targetModules === null && config.targetRoles === null
    ? { ...config, targetModules: "all-linear" }
    : config;
}
