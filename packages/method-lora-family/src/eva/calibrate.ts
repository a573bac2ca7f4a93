import { float32 } from "@peftjs/core";
import type { CalibrateContext, Calibration, HostTensor, LayerSite } from "@peftjs/core";
import { loraSiteConfig } from "../lora/config.ts";
import type { LoraConfig } from "../lora/config.ts";
import { collectComponents, rankLayers } from "./collect.ts";
import type { Pca } from "./incrementalPca.ts";
import { evaOptions } from "./options.ts";
import type { EvaSettings } from "./options.ts";

/** A [r, in] of every calibrated layer, by path. */
export type EvaStart = ReadonlyMap<string, HostTensor>;

/**
 * EVA (Paischer et al. 2024): the start of A from the principal components of each layer's inputs, with ranks given to the layers whose
 * components explain most. Batches are run, from the first one again where needed, until the components that each layer would get have
 * converged. Nothing unless `initLoraWeights` is "eva".
 * @throws PeftError `CALIBRATION_DATA_MISSING` without batches, `CALIBRATION_DATA_TOO_SMALL` when no batch has as many tokens as a layer
 * has components.
 */
export async function calibrateEva<Config extends LoraConfig>(
  context: CalibrateContext<Config>,
): Promise<Calibration<Config>> {
  const { config, sites } = context;
  if (config.initLoraWeights !== "eva") return {};
  const settings = evaOptions(config.eva);
  const groups = await collectComponents(context, settings);
  const ranks = rankLayers(groups, config);
  const start = new Map<string, HostTensor>();
  for (const { sites: sharing, pca } of groups) {
    for (const { path } of sharing) {
      const rank = ranks.get(path) ?? 0;
      if (rank > 0 && pca !== null) start.set(path, startOf(pca, rank, settings));
    }
  }
  // Layers that nothing could be found out about stay as they are; those that got no rank go.
  const kept = sites.filter(({ path }) => start.has(path) || !ranks.has(path));
  return { config: { ...config, ...resolvedConfig(config, { settings, kept, start }) }, values: start };
}

/** A: the first rows of V, each divided by √S when whitened. */
function startOf({ components, singularValues }: Pca, rank: number, { whiten }: EvaSettings): HostTensor {
  const { columns, data } = components;
  const divisors = singularValues.map((value) => (whiten ? Math.sqrt(value) : 1));
  const first = data.subarray(0, rank * columns);
  const values = Float32Array.from(first, (value, i) => value / (divisors[Math.floor(i / columns)] as number));
  return float32(values, [rank, columns]);
}

interface Result {
  readonly settings: EvaSettings;
  readonly kept: readonly LayerSite[];
  readonly start: EvaStart;
}

/**
 * The layers that are left, and their ranks by full path. With `adjustScalingFactors` α follows the rank r → r' such that s stays the same:
 * α·r'/r, or α·√(r'/r) where s = α/√r.
 */
function resolvedConfig(config: LoraConfig, { settings, kept, start }: Result): Partial<LoraConfig> {
  const layers = kept.map((site) => {
    const { rank: before, alpha } = loraSiteConfig({ site, config });
    const rank = start.get(site.path)?.shape[0] ?? before;
    const growth = config.useRslora ? Math.sqrt(rank / before) : rank / before;
    return { path: site.path, rank, alpha: settings.adjustScalingFactors ? alpha * growth : alpha };
  });
  const exceptions = (key: "rank" | "alpha"): Record<string, number> =>
    Object.fromEntries(layers.filter((layer) => layer[key] !== config[key]).map((layer) => [layer.path, layer[key]]));
  return {
    eva: settings,
    targetModules: layers.map(({ path }) => path),
    targetRoles: null,
    rankPattern: exceptions("rank"),
    alphaPattern: exceptions("alpha"),
  };
}
