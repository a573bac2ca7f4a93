import { float32, PeftError, weightShape } from "@peftjs/core";
import type { HostTensor, LayerSite, SiteRole, TrainableParameter } from "@peftjs/core";

/**
 * Factors of the outputs of a fused layer by role, laid along the parameter's axis of outputs, with 1 for outputs of no role: [out, 1]
 * for a matrix [out, r], [out] for a bias. Null when all of them are 1, or when the parameter has no such axis.
 * @throws PeftError `CONFIG_INVALID` when its shape leaves open which axis that is.
 */
export function partFactors(parameter: TrainableParameter, factorOf: (role: SiteRole) => number): HostTensor | null {
  const { site, shape } = parameter;
  if (site?.parts === undefined) return null;
  const factors = new Float32Array(site.outFeatures).fill(1);
  for (const { role, from, to } of site.parts) factors.fill(factorOf(role), from, to);
  if (factors.every((factor) => factor === 1)) return null;
  const axis = outputAxis(parameter, site);
  if (axis === null) return null;
  return float32(
    factors,
    shape.map((size, i) => (i === axis ? size : 1)),
  );
}

/** Base weights say it by their layout, parameters of methods by their sizes. */
function outputAxis({ base, key, shape }: TrainableParameter, site: LayerSite): number | null {
  if (base !== null && base === site.weight) return site.layout === "out_in" ? 0 : 1;
  const axes = shape.flatMap((size, axis) => (size === site.outFeatures ? [axis] : []));
  const isClear = axes.length === 0 || base !== null || (axes.length === 1 && site.inFeatures !== site.outFeatures);
  if (isClear) return axes[0] ?? null;
  throw new PeftError(
    "CONFIG_INVALID",
    `"${key}" [${shape.join(", ")}] belongs to a fused layer of ${site.inFeatures} inputs and ${site.outFeatures} outputs (${weightShape(site).join(" × ")}), ` +
      `which does not tell along which axis its outputs run. Set lambda to 1 and roles to null, or leave ${site.path} out of the targets.`,
  );
}
