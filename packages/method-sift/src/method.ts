import { cloneTensor, defineMethod, int32, PeftError, zeros } from "@peftjs/core";
import type { Delta, DeltaContext, ForwardContext, InitContext, InitResult, Method, Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { countsOf } from "./budget.ts";
import { SiftConfig, siftWire } from "./config.ts";
import { entriesAt, restoreSift, siftFile } from "./file.ts";
import { asShira } from "./interchange.ts";
import { scatter, scatterWeight, sparseProduct } from "./layer.ts";
import type { Entries } from "./layer.ts";
import { select } from "./select.ts";
import type { Chosen, Selection } from "./select.ts";

/**
 * SIFT (Song et al. 2024): of every weight and bias the k entries with the largest gradient at the start are trained, W[I] = W₀[I] + δ;
 * everything else stays. δ starts at zero, and it alone has gradients and optimizer state.
 */
export const sift: Method<SiftConfig> = defineMethod<SiftConfig>({
  name: "sift",
  description: "Trains the entries of the weights that have the largest gradients, and leaves the rest.",
  package: "@peftjs/method-sift",
  config: SiftConfig,
  wire: siftWire,
  // Layers are computed by way of the changed weight.
  capabilities: {
    ...{ merge: true, multiAdapter: true, identityAtStart: true, needsData: true },
    quantizedBase: "values",
  },
  targets: (config) => config,
  calibrate: select,
  init,
  forward,
  delta,
  parameterGroup: ({ config }) => (config.weightDecayMode === "none" ? { weightDecay: 0 } : {}),
  file: siftFile,
  restore: restoreSift,
  interchange: [asShira],
});

function init(context: InitContext<SiftConfig>): InitResult {
  const { site, config, calibration } = context;
  if (site.kind !== "linear") {
    throw new PeftError(
      "CONFIG_INVALID",
      `SIFT trains entries of linear layers only, and "${site.path}" is of kind ${site.kind}. Leave it out of targetModules.`,
    );
  }
  const { weight, bias } = (calibration as Selection | undefined)?.get(site.path) ?? placeholder(site, config);
  // What decays as a weight is trained as one: the values are W[I], and δ is what they differ by from where they start.
  const decays = config.weightDecayMode === "weight" && weight.length > 0;
  // A file holds δ, and `restore` adds the start to it.
  const origin = !decays ? null : context.fromFile ? zeros([weight.length]) : entriesAt(context.weight, weight, site);
  return {
    params: {
      ...(weight.length === 0 ? {} : { values: origin === null ? zeros([weight.length]) : cloneTensor(origin) }),
      ...(bias.length === 0 ? {} : { biasValues: zeros([bias.length]) }),
    },
    buffers: {
      ...(weight.length === 0 ? {} : { indices: int32(weight, [weight.length]) }),
      ...(bias.length === 0 ? {} : { biasIndices: int32(bias, [bias.length]) }),
      ...(origin === null ? {} : { origin }),
    },
  };
}

/** Places to be replaced by a file's. */
function placeholder(site: InitContext<SiftConfig>["site"], config: SiftConfig): Chosen {
  const { weight, bias } = countsOf(site, config);
  const first = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);
  return { weight: first(weight), bias: first(bias) };
}

function forward({ site, params, x, base, innermost, weight, bias }: ForwardContext<SiftConfig>): tf.Tensor2D {
  const change = biasChange(params, site.outFeatures);
  const entries = entriesOf(params);
  if (entries === null) return change === null ? base(x) : tf.add(base(x), change);
  const product = sparseProduct(x, entries, { site, weight: innermost ? weight : null });
  const below = innermost ? bias : base(x);
  return [below, change].reduce<tf.Tensor2D>((sum, term) => (term === null ? sum : tf.add(sum, term)), product);
}

function delta({ site, params, weight }: DeltaContext<SiftConfig>): Delta {
  const bias = biasChange(params, site.outFeatures);
  const entries = entriesOf(params);
  return {
    weight: entries === null ? tf.fill(weight.shape, -0) : scatterWeight(entries, site),
    ...(bias === null ? {} : { bias }),
  };
}

/** δ and I of the weight; null when nothing of it was chosen. */
function entriesOf({ values, indices, origin }: Named<tf.Tensor>): Entries | null {
  if (values === undefined) return null;
  const change = origin === undefined ? values : tf.sub(values, origin);
  return { values: change as tf.Tensor1D, indices: indices as tf.Tensor1D };
}

function biasChange({ biasValues, biasIndices }: Named<tf.Tensor>, size: number): tf.Tensor1D | null {
  if (biasValues === undefined) return null;
  return scatter({ values: biasValues as tf.Tensor1D, indices: biasIndices as tf.Tensor1D }, size);
}
