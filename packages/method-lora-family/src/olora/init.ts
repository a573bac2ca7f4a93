import { qr } from "@peftjs/core";
import type { InitContext, InitResult } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";
import { splitWeight } from "../pissa/residual.ts";

/**
 * OLoRA (Büyükakyüz 2024): with the thin QR factorisation W = Q·R [out, in],
 *
 *     A = R_r [r, in] (first rows),  B = Q_r [out, r] (first columns),  W ← W − s·B·A.
 *
 * Neither factor is divided by s: the larger s, the more is taken out of W. A weight that is stored [in, out] is transposed first.
 * @throws PeftError `CONFIG_INVALID` where a weight cannot be split, see `splitWeight`.
 */
export function initOlora(context: InitContext<LoraConfig>): InitResult {
  return splitWeight(context, (weight) => {
    const { q, r } = qr(weight, { rank: context.config.rank });
    return { a: r, b: q };
  });
}
