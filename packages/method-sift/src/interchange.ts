import { defineInterchange, float32, int32, PeftError, sparseFile, sparseForm, sparseLayers } from "@peftjs/core";
import type { AdapterContext, FileForm, HostSite, Interchange, SparseFileConfig, SparseLayer } from "@peftjs/core";
import { SiftConfig } from "./config.ts";
import { increments } from "./file.ts";

/**
 * SHiRA, whose change of a weight is S(δ) too: `shira_weight` [m] at `shira_indices` int32 [2, m] (outputs, inputs), m = r·(in + out)
 * with one r of the whole file. What was trained with `loraRank: r` is written as it is; of another budget, with the smallest r that
 * holds it, filled up with zeros at other places. There are no biases.
 */
export const asShira: Interchange<SiftConfig> = defineInterchange<SiftConfig, SparseFileConfig>({
  carrier: sparseFile({
    name: "shira",
    package: "@peftjs/method-sift",
    peftType: "SHIRA",
    tensors: { values: "shira_weight", indices: "shira_indices" },
    constants: { fan_in_fan_out: false, init_weights: true, mask_type: "random", random_seed: null },
  }),
  to: ({ sites }: AdapterContext<SiftConfig>): FileForm<SparseFileConfig> => sparseForm(sites.flatMap(entriesOf)),
  from: (file: AdapterContext<SparseFileConfig>): FileForm<SiftConfig> => ({
    config: SiftConfig.parse({ loraRank: file.config.rank }),
    params: new Map(
      sparseLayers(file).map(({ site, places, values }) => [
        site.path,
        { values: float32(values, [values.length]), indices: int32(places, [places.length]) },
      ]),
    ),
  }),
});

/** None of a layer of whose weight nothing was chosen. */
function entriesOf({ site, params }: HostSite<SiftConfig>): SparseLayer[] {
  if (params["biasValues"]?.data.some((value) => value !== 0) === true) {
    throw new PeftError(
      "INTERCHANGE_UNSUPPORTED",
      `The bias of "${site.path}" has learned, and SHiRA files have no biases. Train with includeBias: false, or save the adapter in its own form.`,
    );
  }
  const { indices } = params;
  if (indices === undefined) return [];
  return [{ site, places: indices.data as Int32Array, values: increments(params).data as Float32Array }];
}
