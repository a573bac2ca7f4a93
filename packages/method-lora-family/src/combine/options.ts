import { didYouMean, PeftError } from "@peftjs/core";
import type { CombineOptions } from "@peftjs/core";
import { z } from "zod";

/** How tensors of several adapters become one: which entries stay, and whether signs are voted on. */
interface Recipe {
  readonly keep: "all" | "largest" | "random";
  readonly elect: boolean;
}

const recipes = {
  linear: { keep: "all", elect: false },
  ties: { keep: "largest", elect: true },
  dare_linear: { keep: "random", elect: false },
  dare_ties: { keep: "random", elect: true },
  magnitude_prune: { keep: "largest", elect: false },
} as const satisfies Record<string, Recipe>;

/** Names of the Python library. "…_svd" works on ΔW, the same name without it on A and B apart. */
const combinationTypes = [
  "cat",
  "svd",
  "linear",
  "ties",
  "ties_svd",
  "dare_linear",
  "dare_linear_svd",
  "dare_ties",
  "dare_ties_svd",
  "magnitude_prune",
  "magnitude_prune_svd",
] as const;

/** Settings of combining adapters of the LoRA family. */
export const LoraCombineOptions = z.strictObject({
  type: z
    .enum(combinationTypes, {
      error: ({ input }) =>
        `Expected one of ${combinationTypes.join(", ")}, got ${JSON.stringify(input)}.${didYouMean(String(input), combinationTypes)}`,
    })
    .default("cat")
    .describe('How the adapters become one. "cat" and "svd" add up the updates themselves; the others approximate.'),
  density: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe("Share of entries that stay, for the ties, dare and magnitude_prune types, which need it."),
  majoritySignMethod: z
    .enum(["total", "frequency"])
    .default("total")
    .describe("Sign of an entry in the ties types: that of the sum, or of most adapters."),
  svdRank: z
    .int()
    .positive()
    .nullable()
    .default(null)
    .describe('Rank of the result of "svd" types. Default: the largest of the adapters\'.'),
  svdClamp: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('Quantile that the entries of the factors of "svd" types are clamped to.'),
  seed: z.int().default(0).describe("Of the masks of the dare types."),
});
export type LoraCombineOptions = z.infer<typeof LoraCombineOptions>;

export interface Combination extends LoraCombineOptions {
  readonly recipe: Recipe;
  /** What the recipe works on. */
  readonly on: "factors" | "update" | "ranks";
}

/** @throws PeftError `CONFIG_INVALID` with every complaint. */
export function parseCombination(options: CombineOptions): Combination {
  const parsed = LoraCombineOptions.safeParse(options);
  if (!parsed.success) {
    throw new PeftError(
      "CONFIG_INVALID",
      `The settings for combining adapters are not valid.\n${z.prettifyError(parsed.error)}`,
    );
  }
  const { type, density } = parsed.data;
  const recipe: Recipe = recipes[recipeName(type)];
  if (recipe.keep !== "all" && density === null) {
    throw new PeftError(
      "CONFIG_INVALID",
      `Combining adapters with type "${type}" needs a density: the share of entries that stay, e.g. density: 0.5.`,
    );
  }
  return { ...parsed.data, recipe, on: type === "cat" ? "ranks" : type.endsWith("svd") ? "update" : "factors" };
}

function recipeName(type: LoraCombineOptions["type"]): keyof typeof recipes {
  if (type === "cat" || type === "svd") return "linear";
  return type.replace(/_svd$/, "") as keyof typeof recipes;
}
