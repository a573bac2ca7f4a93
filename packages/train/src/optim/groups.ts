import { broadcastScale } from "./elementScale.ts";
import type { ParamGroup, ParamGroupRule } from "./optimizer.ts";

/** Biases and the parameters of normalisations, by name: the patterns of transformers' Trainer, and GPT-2's `ln_1`. */
const UNDECAYED = [/bias/, /layernorm/, /rmsnorm/, /(?:^|\.)norm(?:$|\.)/, /_norm(?:$|\.)/, /(?:^|\.)ln(?:_\w+)?\./];

/** Whether weight decay applies to a parameter by default. */
export function decays(name: string): boolean {
  const lower = name.toLowerCase();
  return !UNDECAYED.some((pattern) => pattern.test(lower));
}

/** The group of a parameter: the rule's choice over the defaults. */
export function resolveGroup(
  parameter: { readonly name: string; readonly shape: readonly number[] },
  options: { readonly weightDecay: number; readonly rule?: ParamGroupRule | undefined },
): ParamGroup {
  const chosen = options.rule?.(parameter) ?? {};
  return {
    lrScale: chosen.lrScale ?? 1,
    weightDecay: chosen.weightDecay ?? (decays(parameter.name) ? options.weightDecay : 0),
    ...(chosen.elementScale === undefined ? {} : { elementScale: broadcastScale(chosen.elementScale, parameter) }),
  };
}
