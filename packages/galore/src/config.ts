import { targetFields } from "@peftjs/core";
import { z } from "zod";

const AdaptiveGap = z
  .strictObject({
    threshold: z.number().min(0).max(1).default(0.4).describe("Mean |cosine| from which the basis counts as settled."),
    queue: z.int().positive().default(5).describe("Refreshes that the mean is over."),
    factor: z.number().min(1).default(2).describe("What updateProjGap is then multiplied by."),
  })
  .describe("Refresh a matrix less often once its first basis vector stays (Q-GaLore's lazy refresh).");

/** Settings of GaLore (Zhao et al. 2024). Defaults are those of the published recipes; every default is here. */
export const GaloreConfig = z
  .strictObject({
    targetModules: targetFields.targetModules.describe(
      'Linear layers whose weights learn through a projection: suffixes, a regular expression, or "all-linear", the default. Never the head.',
    ),
    targetRoles: targetFields.targetRoles,
    excludeModules: targetFields.excludeModules,
    rank: z.int().positive().default(128).describe("Rank r of the projection; at most the matrix's own is used."),
    updateProjGap: z.int().positive().default(200).describe("Optimizer steps T between refreshes of the basis."),
    scale: z
      .number()
      .positive()
      .default(0.25)
      .describe("α: multiplies what is projected back. Independent of the rank."),
    projType: z
      .enum(["std", "reverse_std", "right", "left", "full"])
      .default("std")
      .describe("Side that is compressed: the smaller one, the larger one, the input's, the output's, or both."),
    rule: z
      .enum(["adamw", "adamw8bit", "adafactor", "sgd"])
      .default("adamw")
      .describe("Optimizer inside the subspace."),
    beta1: z.number().min(0).lt(1).default(0.9).describe("AdamW: memory of the gradient's mean."),
    beta2: z.number().min(0).lt(1).default(0.999).describe("AdamW: memory of the squared gradient's mean."),
    epsilon: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe("AdamW: added to the denominator. Default: 1e-6, of 8 bits 1e-8."),
    epsMode: z
      .enum(["uncorrected", "corrected"])
      .nullable()
      .default(null)
      .describe("AdamW: epsilon is added before or after bias correction. Default: before, of 8 bits after."),
    weightDecay: z
      .number()
      .nonnegative()
      .nullable()
      .default(null)
      .describe("Decay of the whole updated weight. Default: 0, of 8 bits 0.01."),
    adafactorBeta1: z
      .number()
      .min(0)
      .lt(1)
      .nullable()
      .default(null)
      .describe("Adafactor: momentum of the step; null has none and no state for it."),
    svd: z
      .enum(["randomized", "exact"])
      .default("randomized")
      .describe("How a basis is found. Small matrices are always decomposed exactly."),
    oversample: z.int().nonnegative().default(8).describe("Randomized: columns of the sketch beyond the rank."),
    powerIterations: z.int().nonnegative().default(2).describe("Randomized: passes that sharpen the sketch."),
    seed: z.int().default(0).describe("Randomized: seed of the sketches."),
    alignSigns: z
      .boolean()
      .default(true)
      .describe("Flip new basis vectors that point away from the old ones; false leaves signs as they come out."),
    momentOnRefresh: z
      .enum(["keep", "project", "reset"])
      .default("keep")
      .describe("What a refresh does to the state: nothing, express it in the new basis, or start anew."),
    basisBits: z
      .union([z.literal(32), z.literal(4)])
      .default(32)
      .describe("Bits that a number of a basis is kept in."),
    adaptiveGap: AdaptiveGap.nullable().default(null).describe("Lengthen updateProjGap where a basis settles."),
    layerwise: z
      .boolean()
      .default(false)
      .describe("Project each gradient where it arises, so that one whole gradient is alive at a time."),
  })
  .refine(({ targetModules, targetRoles }) => targetModules === null || targetRoles === null, {
    path: ["targetRoles"],
    error: "Expected null beside targetModules: each names layers on its own.",
  })
  .refine(({ rule, momentOnRefresh }) => momentOnRefresh !== "project" || rule.startsWith("adamw"), {
    path: ["momentOnRefresh"],
    error: 'Expected "keep" or "reset": only the moments of AdamW can be expressed in a new basis.',
  });
export type GaloreConfig = z.infer<typeof GaloreConfig>;
