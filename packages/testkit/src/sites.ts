import type { LayerSite } from "@peftjs/core";

/** A linear layer with weights stored [out, in] and no bias, but for what `given` says. */
export function linearSite(given: Partial<LayerSite> & Pick<LayerSite, "inFeatures" | "outFeatures">): LayerSite {
  const { path = "layer" } = given;
  return {
    ...{ path, kind: "linear", role: path.slice(path.lastIndexOf(".") + 1), block: null },
    ...{ layout: "out_in", weight: `${path}.weight`, bias: null },
    ...given,
  };
}
