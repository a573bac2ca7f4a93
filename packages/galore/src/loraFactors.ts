import { createGenerator, matmul, matrix, PeftError, transpose, truncatedSvd } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { asMatrix, asTensor } from "./host.ts";

export interface LoraFactors {
  /** [k, in]. */
  readonly loraA: HostTensor;
  /** [out, k]. */
  readonly loraB: HostTensor;
  /** k: the factor α/k of LoRA is 1. */
  readonly alpha: number;
}

export interface LoraFactorsOptions {
  readonly layout: "out_in" | "in_out";
  /** Largest rank that the change can have: r times the number of refreshes. */
  readonly rank: number;
  /** Largest part of ‖ΔW‖_F that the factors may miss. float32 weights round every update, which alone leaves up to about 1e-4. */
  readonly tolerance?: number;
}

/**
 * A total change ΔW = W − W₀ as ΔW = B·A, exact up to rounding: each window between refreshes adds a term of rank r, so that S windows
 * leave rank ≤ r·S as long as nothing decays the weight. A = √S·Vᵀ [k, in], B = U·√S [out, k] from the SVD of rank k = min(r·S, in, out).
 * Needs no record of the bases.
 * @throws PeftError `NOT_LOW_RANK` when the factors miss more than `tolerance`.
 */
export function loraFactors(change: HostTensor, { layout, rank, tolerance = 1e-3 }: LoraFactorsOptions): LoraFactors {
  const stored = asMatrix(change);
  const delta = layout === "in_out" ? transpose(stored) : stored;
  const k = Math.min(rank, delta.rows, delta.columns);
  const { u, s, v } = truncatedSvd(delta, { rank: k, iterations: 2, oversampling: 8, generator: createGenerator(0) });
  const roots = s.map(Math.sqrt);
  const scaled = ({ rows, columns, data }: typeof u) =>
    matrix(
      Float64Array.from(data, (value, i) => value * (roots[i % columns] as number)),
      [rows, columns],
    );
  const [loraA, loraB] = [asTensor(transpose(scaled(v))), asTensor(scaled(u))];
  const product = matmul(asMatrix(loraB), asMatrix(loraA)).data;
  const [missed, all] = [norm(product.map((value, i) => value - (delta.data[i] as number))), norm(delta.data)];
  if (missed > tolerance * all) {
    throw new PeftError(
      "NOT_LOW_RANK",
      `Factors of rank ${k} miss ${((100 * missed) / all).toPrecision(3)} % of the weight's change; at most ${100 * tolerance} % are rounding. ` +
        "The change has a low rank without weight decay only, and r more per refresh. Count all refreshes, set weightDecay to 0, or save the full weights.",
    );
  }
  return { loraA, loraB, alpha: k };
}

function norm(values: Float64Array | Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}
