import type { ParameterGroup } from "@peftjs/core";
import { z } from "zod";
import { loraPlusFields } from "./config.ts";

/** A parameter by its name or short name: `default.encoder.layer.0.query.b` or `b`. */
export interface LoraPlusParameter {
  readonly name: string;
  readonly shape: readonly number[];
}

const LoraPlusOptions = z.strictObject({
  ...loraPlusFields,
  weightDecay: z.number().min(0).optional(),
});
export type LoraPlusOptions = z.input<typeof LoraPlusOptions>;

/**
 * LoRA+ (Hayou et al. 2024, eq. 5: η_B = λ·η_A) as a rule of parameter groups, for a trainer's `paramGroups`. With λ = `ratio`
 * and run's rate η:
 *
 * | parameter | rate | weight decay |
 * | --- | --- | --- |
 * | both factors of an embedding | `embeddingLearningRate` | the run's |
 * | B [out, r] | λ·η | the run's |
 * | vectors: biases, norms, magnitudes | λ·η | none for biases and norms |
 * | A [r, in], matrices of saved modules | η | the run's |
 *
 * These are the groups of the Python library, saved modules and trained biases included; `weightDecay` replaces the run's (the
 * library's default is 0).
 */
export function loraPlus(options: LoraPlusOptions = {}): (parameter: LoraPlusParameter) => ParameterGroup {
  const { ratio, embeddingLearningRate, weightDecay } = LoraPlusOptions.parse(options);
  const decay = weightDecay === undefined ? {} : { weightDecay };
  return ({ name, shape }) => {
    const short = name.slice(name.lastIndexOf(".") + 1);
    if (short === "embeddingA" || short === "embeddingB") return { learningRate: embeddingLearningRate, ...decay };
    if (shape.length === 1) return { lrScale: ratio, ...(undecayed.test(name) ? { weightDecay: 0 } : decay) };
    return short === "b" ? { lrScale: ratio, ...decay } : decay;
  };
}

const undecayed = /bias|norm|(?:^|\.)ln_/i;
