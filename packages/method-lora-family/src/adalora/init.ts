import { float32, PeftError, zeros } from "@peftjs/core";
import type { InitContext, InitResult } from "@peftjs/core";
import type { AdaloraConfig } from "./config.ts";
import { initialState } from "./state.ts";

const DEVIATION = 0.02;

/**
 * A [R, in] and B [out, R] normal(0, 0.02²), E [R, 1] zero, ranknum [1] = `initRank`; R is `initRank`, or what `rankPattern` leaves of
 * it, none included. Drawn as the Python library draws: first what its constructor makes of A, E, B and ranknum, then A and B anew.
 */
export function initAdalora({ site, config, generator }: InitContext<AdaloraConfig>): InitResult {
  if (site.kind === "embedding") {
    throw new PeftError(
      "CONFIG_INVALID",
      `AdaLoRA adapts linear layers only, and "${site.path}" is an embedding. Leave it out of targetModules, or use LoRA there.`,
    );
  }
  const { inFeatures, outFeatures } = site;
  const kept = config.rankPattern?.[site.path];
  const rank = kept === undefined ? config.initRank : kept.filter(Boolean).length;
  for (const size of [rank * inFeatures, rank, outFeatures * rank, 1]) generator.normal(size);
  const normal = (shape: readonly [number, number]) =>
    float32(generator.normal(shape[0] * shape[1], 0, DEVIATION), shape);
  const factors = { a: normal([rank, inFeatures]), b: normal([outFeatures, rank]), e: zeros([rank, 1]) };
  const ranknum = float32([config.initRank], [1]);
  if (config.rankPattern === null) return { params: factors, buffers: { ranknum }, state: initialState(factors) };
  // Empty factors have nothing to learn, but the file names them.
  return rank === 0 ? { params: {}, buffers: { ...factors, ranknum } } : { params: factors, buffers: { ranknum } };
}
