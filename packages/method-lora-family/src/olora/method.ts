import type { Method } from "@peftjs/core";
import { splittingMethod } from "../pissa/splittingMethod.ts";
import { OloraConfig, oloraWire } from "./config.ts";

/**
 * OLoRA (Büyükakyüz 2024): LoRA whose B starts with orthonormal columns, of the QR factorisation of W, which leave the base weight.
 * A layer is y = x·(W − s·B₀·A₀)ᵀ + b + s·drop(x)·Aᵀ·Bᵀ; A [r, in], B [out, r]. Saved as PiSSA is.
 */
export const olora: Method<OloraConfig> = splittingMethod<OloraConfig>({
  name: "olora",
  description: "OLoRA: LoRA that starts from the QR factorisation of the weight.",
  config: OloraConfig,
  wire: oloraWire,
});
