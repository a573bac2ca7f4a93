import { defineTrainingPlugin } from "@peftjs/core";
import type { ParameterGroup, TrainableParameter, TrainingPlugin } from "@peftjs/core";
import { z } from "zod";
import { decays } from "../optim/groups.ts";
import { legacyGroup } from "./legacyRates.ts";
import { partFactors } from "./partFactors.ts";

/** Settings of `attentionRates`. */
export const AttentionRatesConfig = z.strictObject({
  lambda: z
    .number()
    .positive({ error: "Expected a ratio above 0, e.g. 4; 1 leaves all rates as they are." })
    .default(4)
    .describe(
      "λ: what belongs to value projections learns λ times as fast as the rest. 4 suits adapters, 2 or less full fine-tuning; try 1, 2, 4, 8.",
    ),
  roles: z
    .array(z.string())
    .readonly()
    .nullable()
    .default(null)
    .describe(
      'Of fused layers: the roles whose outputs learn, e.g. ["query", "value"]; those of other roles stay exactly as they are. Default: all. Layers of their own are chosen by the method\'s targets.',
    ),
  headLrFactor: z.number().positive().default(1).describe("Factor on the learning rate of the task head."),
  embeddingLr: z
    .number()
    .positive()
    .nullable()
    .default(null)
    .describe("Peak learning rate of what a method puts on embeddings. Default: the run's."),
  weightDecay: z
    .number()
    .nonnegative()
    .nullable()
    .default(null)
    .describe(
      "Weight decay of all matrices, instead of the run's and the method's; biases, norms and vectors then have none. It is multiplied by each group's own rate. Default: left as it is.",
    ),
  legacyGrouping: z
    .boolean()
    .default(false)
    .describe(
      "For replications: groups by the names of parameters, as the published code has them, with its defects; no decay unless weightDecay is set.",
    ),
});
export type AttentionRatesConfig = z.infer<typeof AttentionRatesConfig>;

/**
 * Learning rates of attention (Yao et al. 2024, arXiv 2410.02247, theorem 2): η_V = λ·η_QK with λ > 1, that is
 *
 * lr(p) = η(t) · λ^[value] · headLrFactor^[head] · (factors of the method and of other plug-ins).
 *
 * Which parameters belong to value projections follows from the role of their layer and not from names; every tensor that a method
 * has on the layer inherits it: matrices, magnitudes, biases. On a fused layer (`LayerSite.parts`) what runs along the outputs has the
 * factors output by output, and what is shared by all outputs, like A of B·A, stays at η. λ = 1 with no other setting changes no bit.
 */
export const attentionRates: TrainingPlugin<AttentionRatesConfig> = defineTrainingPlugin<AttentionRatesConfig>({
  name: "attention-rates",
  description: "The attention insight: value projections learn λ times as fast as queries and keys.",
  package: "@peftjs/train",
  config: AttentionRatesConfig,
  parameterGroup: (parameter, config) =>
    config.legacyGrouping
      ? legacyGroup(parameter, config)
      : { ...ratesOf(parameter, config), ...decayOf(parameter, config) },
});

function ratesOf(parameter: TrainableParameter, config: AttentionRatesConfig): ParameterGroup {
  const { site, head, name } = parameter;
  if (head) return { lrScale: config.headLrFactor };
  if (site?.parts !== undefined) return fusedRates(parameter, config);
  if (site?.role === "value") return { lrScale: config.lambda };
  return site?.kind === "embedding" && name !== null && config.embeddingLr !== null
    ? { learningRate: config.embeddingLr }
    : {};
}

function fusedRates(parameter: TrainableParameter, { lambda, roles }: AttentionRatesConfig): ParameterGroup {
  const elementScale = partFactors(parameter, (role) => {
    if (roles !== null && !roles.includes(role)) return 0;
    return role === "value" ? lambda : 1;
  });
  return elementScale === null ? {} : { elementScale };
}

function decayOf({ key, shape }: TrainableParameter, { weightDecay }: AttentionRatesConfig): ParameterGroup {
  if (weightDecay === null) return {};
  return { weightDecay: shape.length > 1 && decays(key) ? weightDecay : 0 };
}
