import { defineMethod } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import { lora } from "../lora/method.ts";
import { RsLoraConfig, rsLoraWire } from "./config.ts";

/**
 * rsLoRA (Kalajdzievski 2023): y = x·Wᵀ + b + (α/√r)·drop(x)·Aᵀ·Bᵀ. With α/r the update shrinks as the rank grows; with α/√r
 * its size and that of the gradients stay the same, so that higher ranks learn more. Shapes are LoRA's: A [r, in], B [out, r].
 */
export const rslora: Method<RsLoraConfig> = defineMethod<RsLoraConfig>({
  ...lora,
  name: "rslora",
  description: "Rank-stabilised LoRA: W + (α/√r)·B·A, for higher ranks.",
  config: RsLoraConfig,
  wire: rsLoraWire,
});
