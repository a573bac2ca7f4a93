import { defineInterchange, sparseFile, sparseForm, sparseLayers } from "@peftjs/core";
import type { AdapterContext, FileForm, HostSite, Interchange, SparseFileConfig, SparseLayer } from "@peftjs/core";
import type { RocoftConfig } from "../config.ts";
import { coordinatesOf } from "../select/indices.ts";
import { learnedChange } from "../slice.ts";
import { formOfEntries } from "./forms.ts";
import { unsupported } from "./unsupported.ts";

/**
 * Entries as SHiRA: `shira_weight` [m] at `shira_indices` int32 [2, m], with m = r'·(in + out) for one r' of the whole file. Written with
 * the smallest r' that holds the entries, filled up with unused ones of value 0, which from then on are entries like the others.
 */
export const asShira: Interchange<RocoftConfig> = defineInterchange<RocoftConfig, SparseFileConfig>({
  carrier: sparseFile({
    name: "shira",
    package: "@peftjs/method-rocoft",
    peftType: "SHIRA",
    tensors: { values: "shira_weight", indices: "shira_indices" },
    constants: { fan_in_fan_out: false, init_weights: true, mask_type: "random", random_seed: null },
  }),
  to: ({ config: { mode }, sites }: AdapterContext<RocoftConfig>): FileForm<SparseFileConfig> => {
    if (mode !== "entries")
      throw unsupported(`SHiRA files hold single entries, and this adapter learns ${mode}s. Use as: "lora".`);
    return sparseForm(sites.map(entriesOf));
  },
  from: (file: AdapterContext<SparseFileConfig>): FileForm<RocoftConfig> =>
    formOfEntries(file.config.rank, sparseLayers(file)),
});

function entriesOf({ site, params }: HostSite<RocoftConfig>): SparseLayer {
  if (params["biasDelta"]?.data.some((value) => value !== 0) === true) {
    throw unsupported(
      `The bias of "${site.path}" has learned, and SHiRA files have no biases. Train with bias: "none", or save the adapter in its own form.`,
    );
  }
  const [change, indices] = [learnedChange(params), params["indices"]];
  if (change === undefined || indices === undefined)
    return { site, places: new Int32Array(), values: new Float32Array() };
  const places = coordinatesOf(indices, { mode: "entries", inFeatures: site.inFeatures });
  return { site, places, values: change.data as Float32Array };
}
