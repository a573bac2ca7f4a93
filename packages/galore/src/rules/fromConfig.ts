import type { GaloreConfig } from "../config.ts";
import { adafactorRule } from "./adafactor.ts";
import { adamwRule } from "./adamw.ts";
import { inBytes, whole } from "./moments.ts";
import type { InnerRule } from "./rule.ts";
import { sgdRule } from "./sgd.ts";

export type RuleConfig = Pick<GaloreConfig, "rule" | "beta1" | "beta2" | "epsilon" | "epsMode" | "adafactorBeta1">;

/** The rule that the options name, with its own defaults. */
export function innerRule({ rule, beta1, beta2, epsilon, epsMode, adafactorBeta1 }: RuleConfig): InnerRule {
  if (rule === "sgd") return sgdRule;
  if (rule === "adafactor") return adafactorRule({ beta1: adafactorBeta1 });
  const bytes = rule === "adamw8bit";
  return adamwRule({
    beta1,
    beta2,
    epsilon: epsilon ?? (bytes ? 1e-8 : 1e-6),
    epsMode: epsMode ?? (bytes ? "corrected" : "uncorrected"),
    storage: bytes ? inBytes : whole,
  });
}

/** Weight decay of the matrices that are projected. */
export function weightDecayOf({ rule, weightDecay }: Pick<GaloreConfig, "rule" | "weightDecay">): number {
  return weightDecay ?? (rule === "adamw8bit" ? 0.01 : 0);
}
