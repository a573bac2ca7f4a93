import type { ParameterGroup, TrainableParameter } from "@peftjs/core";
import { decays } from "../optim/groups.ts";

/** What LoRA learned at on embeddings in the published runs, whatever was asked for. */
const EMBEDDING_RATE = 1e-6;

export interface LegacyRates {
  readonly lambda: number;
  readonly embeddingLr: number | null;
  readonly weightDecay: number | null;
}

/**
 * The groups of the code that was published with arXiv 2410.02247, by the first rule that a parameter's name matches:
 *
 * | parameter | rate | weight decay |
 * | --- | --- | --- |
 * | of a method, on an embedding | 1e-6 | wd |
 * | `value` or `v_proj` in the name, or of one dimension; with `query` or `key` in it | η | wd |
 * | …; else no bias and no norm | λ·η | wd |
 * | …; else | λ·η | 0 |
 * | everything else | η | wd |
 *
 * So biases of the head, and vectors beside layers called `q_proj` or `k_proj`, learn at λ·η. `weightDecay` null is 0: whatever was
 * asked for, the published runs with a λ had none.
 */
export function legacyGroup(
  { key, adapter, site, shape, name: short }: TrainableParameter,
  { lambda, embeddingLr, weightDecay }: LegacyRates,
): ParameterGroup {
  const decay = { weightDecay: weightDecay ?? 0 };
  if (site?.kind === "embedding" && short !== null) return { learningRate: embeddingLr ?? EMBEDDING_RATE, ...decay };
  const name = key.slice(adapter.length + 1);
  const isValue = name.includes("value") || name.includes("v_proj") || shape.length === 1;
  if (!isValue || name.includes("query") || name.includes("key")) return decay;
  return { lrScale: lambda, weightDecay: decays(name) ? decay.weightDecay : 0 };
}
