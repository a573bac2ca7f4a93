import { defineTrainingPlugin, matchesTargets, PeftError, resolveTargets } from "@peftjs/core";
import type { LayerSite, TargetConfig, TrainableParameter } from "@peftjs/core";
import { GaloreConfig } from "./config.ts";
import { matrixRule } from "./matrixRule.ts";

/**
 * GaLore (Zhao et al. 2024): weight matrices learn as they are, and the optimizer's state is that of their gradients in a subspace of rank
 * r. Which parameters learn is said by the method beside it: `use(full, { targetModules: […] }).use(galore, { rank: 8, scale: 2 })`.
 *
 * `start` throws PeftError `TARGET_NOT_FOUND` for targets that no layer matches, `NOTHING_TO_PROJECT` when none of their weights learns.
 */
export const galore = defineTrainingPlugin<GaloreConfig>({
  name: "galore",
  description:
    "Weight matrices learn as they are, with the optimizer's state in a low-rank projection of the gradient.",
  package: "@peftjs/galore",
  config: GaloreConfig,
  parameterRule(parameter, config) {
    const site = projectedSite(parameter, config);
    if (site === null) return null;
    return matrixRule({ shape: parameter.shape as [number, number], layout: site.layout, config });
  },
  start({ config, parameters, sites }) {
    const heads = parameters.flatMap(({ head, site }) => (head && site !== null ? [site.path] : []));
    const targets = resolveTargets(targetsOf(config), { sites, defaultTargets: [], headModules: heads });
    if (!parameters.some((parameter) => projectedSite(parameter, config) !== null)) {
      throw new PeftError(
        "NOTHING_TO_PROJECT",
        `None of the ${parameters.length} trainable parameters is the weight of a layer that GaLore targets (${targets.length} layers, e.g. "${targets[0]?.path}"). ` +
          "It needs base weights that learn as they are: use(full, { targetModules: … }) of @peftjs/method-classic, with the same targets.",
      );
    }
    return { choosesBlocks: false };
  },
});

/** The layer whose weight the parameter is, when it is projected. */
export function projectedSite({ base, site, shape, head }: TrainableParameter, config: GaloreConfig): LayerSite | null {
  const isWeight = base !== null && site !== null && base === site.weight && shape.length === 2;
  if (!isWeight || head || site.kind !== "linear") return null;
  return isTarget(site, config) ? site : null;
}

function targetsOf({ targetModules, targetRoles, excludeModules }: GaloreConfig): TargetConfig {
  return {
    targetModules: targetRoles === null ? (targetModules ?? "all-linear") : null,
    ...{ targetRoles, excludeModules, layersToTransform: null, layersPattern: null, modulesToSave: null },
  };
}

/** What `resolveTargets` would say of the layer. */
function isTarget({ path, role }: LayerSite, config: GaloreConfig): boolean {
  const { targetModules, targetRoles, excludeModules } = targetsOf(config);
  if (excludeModules !== null && matchesTargets(excludeModules, path)) return false;
  if (targetModules === null) return targetRoles?.includes(role) === true;
  const all = typeof targetModules === "string" && targetModules.toLowerCase() === "all-linear";
  return all || matchesTargets(targetModules, path);
}
