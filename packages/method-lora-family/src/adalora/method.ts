import { defineMethod, weightShape } from "@peftjs/core";
import type { DeltaContext, ForwardContext, Method, Named, PenaltyContext, SiteContext } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { trainsBias } from "../lora/method.ts";
import { allocate } from "./allocate.ts";
import { AdaloraConfig, adaloraWire } from "./config.ts";
import { adaloraFile } from "./file.ts";
import { initAdalora } from "./init.ts";
import { adaloraDelta, adaloraUpdate, orthogonalityPenalty } from "./layer.ts";
import type { AdaloraTensors } from "./layer.ts";
import { trackImportance } from "./state.ts";
import { withDefaultTargets } from "./targets.ts";

/**
 * AdaLoRA (Zhang et al. 2023): W + B·diag(E)·A·α/R with B and A kept close to orthonormal. Every layer starts at rank R; a schedule
 * takes the least important triplets (column of B, entry of E, row of A) out, over all layers, until the mean rank is `targetRank`.
 */
export const adalora: Method<AdaloraConfig> = defineMethod<AdaloraConfig>({
  name: "adalora",
  description: "Low-rank update whose rank moves to the layers where it matters while training (AdaLoRA).",
  package: "@peftjs/method-lora-family",
  config: AdaloraConfig,
  wire: adaloraWire,
  capabilities: { merge: true, multiAdapter: true, identityAtStart: true },
  resolve: (config, { modelType }) => withDefaultTargets(config, modelType),
  targets: (config) => config,
  init: initAdalora,
  forward,
  delta: (context: DeltaContext<AdaloraConfig>) => {
    const tensors = tensorsOf(context);
    const { site } = context;
    return { weight: isEmpty(tensors) ? tf.zeros(weightShape(site)) : adaloraDelta(tensors, site.layout) };
  },
  penalty,
  track: trackImportance,
  afterStep: allocate,
  file: adaloraFile,
  trains: ({ name, targets, config }) => trainsBias(config.bias, name, targets),
});

function forward(context: ForwardContext<AdaloraConfig>): tf.Tensor2D {
  const { x, base, dropout, config } = context;
  const tensors = tensorsOf(context);
  return isEmpty(tensors) ? base(x) : tf.add(base(x), adaloraUpdate(dropout(x, config.dropout), tensors));
}

function penalty({ sites, config }: PenaltyContext<AdaloraConfig>): tf.Scalar {
  const factors = sites.map(tensorsOf).filter((tensors) => !isEmpty(tensors));
  if (config.orthRegWeight === 0 || factors.length === 0) return tf.scalar(0);
  return orthogonalityPenalty(factors, { weight: config.orthRegWeight, squared: config.squaredPenalty });
}

function tensorsOf({
  params,
  config,
}: Pick<SiteContext<AdaloraConfig>, "config"> & { readonly params: Named<tf.Tensor> }): AdaloraTensors {
  const { a, b, e, ranknum } = params as unknown as Omit<AdaloraTensors, "alpha">;
  return { a, b, e, ranknum, alpha: config.alpha > 0 ? config.alpha : config.initRank };
}

/** All triplets of the layer are gone. */
function isEmpty({ e }: AdaloraTensors): boolean {
  return e.shape[0] === 0;
}
