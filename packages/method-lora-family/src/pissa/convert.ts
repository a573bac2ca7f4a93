import type { FileContext, FileForm, HostSite, HostTensor, Named } from "@peftjs/core";
import type { LoraConfig } from "../lora/config.ts";
import { joinColumns, scaled, stackRows, toMatrix, toTensor } from "../matrices.ts";

/**
 * What stands on its own: an adapter whose start took s·B₀·A₀ out of the base weight becomes the plain LoRA that it comes to on the
 * original one. Since W − s·B₀·A₀ + s·B·A = W + s·(B·A − B₀·A₀),
 *
 *     A' = [A; A₀] [2r, in],  B' = [B, −B₀] [out, 2r],  r' = 2r,  α' = 2α (α' = √2·α under rsLoRA, whose s is α/√r),
 *
 * and the ranks and alphas of patterns likewise, so that every layer keeps its s. With `native`, and for every other start, the
 * adapter is left as it is.
 */
export function residualToLora({ config, sites, native }: FileContext<LoraConfig>): FileForm<LoraConfig> {
  const split = !native && sites.some(({ state }) => state["a0"] !== undefined);
  return {
    config: split ? doubledConfig(config) : config,
    params: new Map(sites.map((each) => [each.site.path, split ? doubledFactors(each) : each.params])),
  };
}

function doubledConfig(config: LoraConfig): LoraConfig {
  const factor = config.useRslora ? Math.SQRT2 : 2;
  return {
    ...config,
    rank: 2 * config.rank,
    alpha: factor * config.alpha,
    rankPattern: scaledValues(config.rankPattern, 2),
    alphaPattern: scaledValues(config.alphaPattern, factor),
    initLoraWeights: true,
  };
}

function scaledValues(pattern: Readonly<Record<string, number>>, factor: number): Record<string, number> {
  return Object.fromEntries(Object.entries(pattern).map(([path, value]) => [path, factor * value]));
}

function doubledFactors({ params, state }: HostSite<LoraConfig>): Named<HostTensor> {
  const { a, b, a0, b0 } = { ...params, ...state } as Record<"a" | "b" | "a0" | "b0", HostTensor>;
  const rows = stackRows([a, a0].map(toMatrix));
  const columns = joinColumns([toMatrix(b), scaled(toMatrix(b0), -1)]);
  return { ...params, a: toTensor(rows), b: toTensor(columns) };
}
