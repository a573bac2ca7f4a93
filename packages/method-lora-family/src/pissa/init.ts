import { createGenerator, svd, transpose, truncatedSvd } from "@peftjs/core";
import type { HostMatrix, InitContext, InitResult, Svd } from "@peftjs/core";
import { loraScale } from "../lora/config.ts";
import type { LoraConfig } from "../lora/config.ts";
import { scaledColumns } from "../matrices.ts";
import { splitWeight } from "./residual.ts";

const SKETCH_SEED = 0;

/**
 * PiSSA (Meng, Wang & Zhang 2024, eq. 2–4): with W = U·diag(σ)·Vᵀ [out, in] and its r largest singular values,
 *
 *     A = diag(√(σ/s))·V_rᵀ [r, in],  B = U_r·diag(√(σ/s)) [out, r],  W ← W − s·B·A.
 *
 * A and B then train the principal part of W; the rest is frozen. The paper has s = 1 (alpha = rank); dividing σ by s gives every scale
 * the same start. "pissa" decomposes W exactly, "pissa_niter_N" by N randomised subspace iterations with a sketch of r columns.
 *
 * The sketch does not come from the run's generator but from one seeded with 0, anew for each layer: it depends on the layer's shape
 * alone. A native file holds A and B, not W − s·B₀·A₀, which loading computes again and which must come out as it was, to the bit.
 * @throws PeftError `CONFIG_INVALID` where a weight cannot be split, see `splitWeight`.
 */
export function initPissa(context: InitContext<LoraConfig>): InitResult {
  const { config } = context;
  const scale = loraScale(config);
  return splitWeight(context, (weight) => {
    const { u, s, v } = decompose(weight, config);
    const roots = s.subarray(0, config.rank).map((value) => Math.sqrt(value / scale));
    return { a: transpose(scaledColumns(v, roots)), b: scaledColumns(u, roots) };
  });
}

function decompose(weight: HostMatrix, { initLoraWeights, rank }: LoraConfig): Svd {
  if (initLoraWeights === "pissa") return svd(weight);
  const iterations = Number(String(initLoraWeights).replace("pissa_niter_", ""));
  return truncatedSvd(weight, { rank, iterations, generator: createGenerator(SKETCH_SEED) });
}
