import type { Method } from "@peftjs/core";
import { PissaConfig, pissaWire } from "./config.ts";
import { splittingMethod } from "./splittingMethod.ts";

/**
 * PiSSA (Meng, Wang & Zhang 2024): LoRA whose A and B start as the principal part of W, which leaves the base weight. A layer is
 * y = x·(W − s·B₀·A₀)ᵀ + b + s·drop(x)·Aᵀ·Bᵀ; A [r, in], B [out, r]. Saved as plain LoRA of rank 2r on the original base weight, or
 * as it is with `native`.
 */
export const pissa: Method<PissaConfig> = splittingMethod<PissaConfig>({
  name: "pissa",
  description: "PiSSA: LoRA that starts from the weight's largest singular values and vectors.",
  config: PissaConfig,
  wire: pissaWire,
});
