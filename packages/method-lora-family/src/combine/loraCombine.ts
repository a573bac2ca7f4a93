import { createGenerator, matmul, matrix, PeftError, zeros } from "@peftjs/core";
import type { CombineContext, FileForm, Generator, HostMatrix, HostTensor, LayerSite, Named } from "@peftjs/core";
import { loraSiteConfig } from "../lora/config.ts";
import type { LoraConfig } from "../lora/config.ts";
import { joinColumns, scaled, stackRows } from "../matrices.ts";
import { residualToLora } from "../pissa/convert.ts";
import { clamped, factorsOf, padded, truncate, truncateProduct, vector } from "./factors.ts";
import type { Factors } from "./factors.ts";
import { parseCombination } from "./options.ts";
import type { Combination } from "./options.ts";
import { dare, electedMean, prune, weightedSum } from "./taskVectors.ts";
import type { Values } from "./taskVectors.ts";

interface Part extends Factors {
  /** wᵢ. */
  readonly weight: number;
}

interface CombinedSite {
  readonly site: LayerSite;
  /** Of the adapters that have the layer. */
  readonly parts: readonly Part[];
}

/**
 * One LoRA from several, with scale s = 1. With wᵢ the weights, sᵢ the scales and ΔWᵢ = sᵢ·Bᵢ·Aᵢ:
 *
 * - `cat` (default): A = rows wᵢ·sᵢ·Aᵢ, B = columns Bᵢ, r = Σ rᵢ: exactly Σ wᵢ·ΔWᵢ.
 * - `svd`: Σ wᵢ·ΔWᵢ cut to `svdRank` (default: the largest rᵢ), B = U·S, A = Vᵀ.
 * - `linear`: A = Σ sgn(wᵢ)·√|wᵢ·sᵢ|·Aᵢ, B = Σ √|wᵢ·sᵢ|·Bᵢ. Its product has cross terms Bᵢ·Aⱼ: not the sum of the updates.
 * - `ties`, `dare_linear`, `dare_ties`, `magnitude_prune`: these on the Aᵢ and the Bᵢ, weighted as in `linear`; of one rank.
 * - the same with `_svd`: these on the ΔWᵢ, then as `svd`.
 *
 * A layer is made of the adapters that have it; a single adapter is `linear` whatever the type, which is exact. Every layer has the
 * largest rank, missing ones are zero. The bias of B (`loraBias`) is combined like an update sᵢ·βᵢ. Adapters that go with a changed base
 * weight (PiSSA, OLoRA) are combined as the plain LoRA they come to.
 * @throws PeftError `CONFIG_INVALID` for settings, `COMBINE_UNSUPPORTED` where ranks must agree and do not.
 */
export function combineLora(context: CombineContext<LoraConfig>): FileForm<LoraConfig> {
  const { adapters, options } = context;
  const combination = parseCombination(adapters.length === 1 ? { ...options, type: "linear" } : options);
  const plain = adapters.map(({ config }, i) =>
    residualToLora({ config, sites: context.sites.flatMap(({ parts }) => parts[i] ?? []), native: false }),
  );
  const sites = context.sites.map(({ site }): CombinedSite => {
    const parts = plain.flatMap(({ config, params }, i) => {
      const own = params.get(site.path);
      if (own === undefined) return [];
      const weight = (adapters[i] as (typeof adapters)[number]).weight;
      return [{ ...factorsOf(site, own, loraSiteConfig({ site, config })), weight }];
    });
    return { site, parts };
  });
  const rank = combinedRank(sites, combination);
  const loraBias = sites.some(({ parts }) => parts.some(({ bias }) => bias !== null));
  const generator = createGenerator(combination.seed);
  const params = sites.map(
    (each) => [each.site.path, combineSite(each, { combination, rank, loraBias, generator })] as const,
  );
  return {
    config: combinedConfig((plain[0] as (typeof plain)[number]).config, { rank, loraBias }),
    params: new Map(params),
  };
}

function combinedRank(sites: readonly CombinedSite[], { on, svdRank, type }: Combination): number {
  const ranksOf = ({ parts }: CombinedSite): number[] => parts.map(({ a }) => a.rows);
  if (on === "ranks") return Math.max(...sites.map((each) => ranksOf(each).reduce((sum, rank) => sum + rank, 0)));
  if (on === "update" && svdRank !== null) return svdRank;
  if (on === "factors") {
    const uneven = sites.find((each) => new Set(ranksOf(each)).size > 1);
    if (uneven !== undefined) {
      throw new PeftError(
        "COMBINE_UNSUPPORTED",
        `Type "${type}" combines adapters of one rank, but at "${uneven.site.path}" they have ranks ${ranksOf(uneven).join(" and ")}. ` +
          `Use type "cat" (exact) or "svd" (of a rank you choose).`,
      );
    }
  }
  return Math.max(...sites.flatMap(ranksOf));
}

interface SiteOptions {
  readonly combination: Combination;
  readonly rank: number;
  readonly loraBias: boolean;
  readonly generator: Generator;
}

function combineSite({ site, parts }: CombinedSite, options: SiteOptions): Named<HostTensor> {
  const { combination, rank, loraBias, generator } = options;
  const { on, svdClamp } = combination;
  const merge = (tensors: readonly Values[], weights: readonly number[]): Float64Array =>
    mergeTensors(tensors, { combination, weights, generator });
  const exact = on === "ranks" ? concatenated(parts) : on === "factors" ? mergedFactors(parts, merge) : null;
  const factors = exact ?? mergedUpdate(parts, options, merge);
  const result = padded(site, on === "update" && svdClamp !== null ? clamped(factors, svdClamp) : factors, rank);
  if (!loraBias) return result;
  const biased = parts.filter(({ bias }) => bias !== null);
  if (biased.length === 0) return { ...result, biasB: zeros([site.outFeatures]) };
  const biases = biased.map(({ bias, scale }) => Float64Array.from(bias as Float32Array, (value) => value * scale));
  return {
    ...result,
    biasB: vector(
      merge(
        biases,
        biased.map(({ weight }) => weight),
      ),
    ),
  };
}

type Merge = (tensors: readonly Values[], weights: readonly number[]) => Float64Array;

/** Exactly Σ wᵢ·sᵢ·Bᵢ·Aᵢ. */
function concatenated(parts: readonly Part[]): Pick<Factors, "a" | "b"> {
  return {
    a: stackRows(parts.map(({ a, weight, scale }) => scaled(a, weight * scale))),
    b: joinColumns(parts.map(({ b }) => b)),
  };
}

/** The sign of a weight goes to A alone: on both sides it would cancel. */
function mergedFactors(parts: readonly Part[], merge: Merge): Pick<Factors, "a" | "b"> {
  const roots = parts.map(({ weight, scale }) => Math.sqrt(Math.abs(weight * scale)));
  const signed = parts.map(({ weight, scale }, i) => Math.sign(weight * scale) * (roots[i] as number));
  const one = (matrices: readonly HostMatrix[], weights: readonly number[]): HostMatrix => {
    const { rows, columns } = matrices[0] as HostMatrix;
    return matrix(
      merge(
        matrices.map(({ data }) => data),
        weights,
      ),
      [rows, columns],
    );
  };
  return {
    a: one(
      parts.map(({ a }) => a),
      signed,
    ),
    b: one(
      parts.map(({ b }) => b),
      roots,
    ),
  };
}

function mergedUpdate(parts: readonly Part[], options: SiteOptions, merge: Merge): Pick<Factors, "a" | "b"> {
  if (options.combination.type === "svd") return truncateProduct(concatenated(parts), options);
  const updates = parts.map(({ a, b, scale }) => scaled(matmul(b, a), scale));
  const { rows, columns } = updates[0] as HostMatrix;
  const merged = merge(
    updates.map(({ data }) => data),
    parts.map(({ weight }) => weight),
  );
  return truncate(matrix(merged, [rows, columns]), options);
}

function mergeTensors(
  tensors: readonly Values[],
  options: { readonly combination: Combination; readonly weights: readonly number[]; readonly generator: Generator },
): Float64Array {
  const { combination, weights, generator } = options;
  const { recipe, majoritySignMethod } = combination;
  const density = combination.density ?? 1;
  const kept = tensors.map((tensor) => {
    if (recipe.keep === "largest") return prune(tensor, density);
    return recipe.keep === "random" ? dare(tensor, { density, generator }) : tensor;
  });
  return recipe.elect ? electedMean(kept, { weights, method: majoritySignMethod }) : weightedSum(kept, weights);
}

/** The first adapter's settings with the new rank and s = 1; which layers it has is for the caller to write. */
function combinedConfig(first: LoraConfig, { rank, loraBias }: Pick<SiteOptions, "rank" | "loraBias">): LoraConfig {
  return {
    ...first,
    ...{ rank, loraBias, rankPattern: {}, alphaPattern: {}, initLoraWeights: true, eva: null },
    alpha: first.useRslora ? Math.sqrt(rank) : rank,
  };
}
