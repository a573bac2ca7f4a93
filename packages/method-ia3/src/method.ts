import { defineMethod, float32 } from "@peftjs/core";
import type {
  DeltaContext,
  FileContext,
  FileForm,
  ForwardContext,
  HostTensor,
  InitContext,
  Method,
} from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { combine } from "./combine.ts";
import { Ia3Config, ia3Wire } from "./config.ts";
import { scaleDelta, scaleInput, scaleOutput } from "./layer.ts";
import { expressionFor, sideOf, withPlacement } from "./placement.ts";

/**
 * (IA)³ (Liu et al. 2022, section 3.3): learned vectors rescale the keys and values of attention, y = (x·Wᵀ + b) ⊙ l, and the
 * activation between the feed-forward layers, y = (x ⊙ l)·Wᵀ + b. l starts at one. Several adapters multiply.
 */
export const ia3: Method<Ia3Config> = defineMethod<Ia3Config>({
  name: "ia3",
  description: "(IA)³: learned vectors rescale keys, values and feed-forward activations.",
  package: "@peftjs/method-ia3",
  config: Ia3Config,
  wire: ia3Wire,
  capabilities: { merge: true, multiAdapter: true, identityAtStart: true },
  resolve: (config, { modelType }) => withPlacement(config, modelType),
  targets: (config) => ({ ...config, layersToTransform: null, layersPattern: null }),
  init: (context) => ({ params: { l: startOf(context) } }),
  forward,
  delta,
  file,
  combine,
});

/** l [out, 1] where the output is scaled, [1, in] where the input is. */
function startOf({ site, config, generator }: InitContext<Ia3Config>): HostTensor {
  const shape = sideOf(site, config) === "output" ? ([site.outFeatures, 1] as const) : ([1, site.inFeatures] as const);
  const size = shape[0] * shape[1];
  return float32(config.initIa3Weights ? new Float32Array(size).fill(1) : generator.normal(size), shape);
}

function forward({ site, config, params, x, base }: ForwardContext<Ia3Config>): tf.Tensor2D {
  const l = params["l"] as tf.Tensor2D;
  return sideOf(site, config) === "output" ? scaleOutput(base(x), l) : base(scaleInput(x, l));
}

/** Scales what adapters merged before have left: the vectors of several adapters multiply. */
function delta({ site, config, params, below }: DeltaContext<Ia3Config>): { weight: tf.Tensor2D; bias?: tf.Tensor1D } {
  const l = params["l"] as tf.Tensor2D;
  const side = sideOf(site, config);
  const weight = scaleDelta(below.weight, l, { layout: site.layout, side });
  if (side === "input" || below.bias === null) return { weight };
  return { weight, bias: tf.mul(below.bias, tf.reshape(tf.sub(l, 1), [-1])) };
}

/** As many targets as this are written as the endings they share, so that names among them may be gone. */
const MANY_TARGETS = 20;

/**
 * Readers tell the two kinds of layers apart by name alone, and names in a list have to be among those of the targets. Where it is not
 * sure which names those will be, the layers whose input is scaled are written as an expression for their paths.
 */
function file({ config, sites }: FileContext<Ia3Config>): FileForm<Ia3Config> {
  const params = new Map(sites.map(({ site, params: tensors }) => [site.path, tensors]));
  const { targetModules, feedforwardModules } = config;
  const named = Array.isArray(targetModules) && targetModules.length < MANY_TARGETS;
  if (named || typeof feedforwardModules === "string") return { config, params };
  const inner = sites.filter(({ site }) => sideOf(site, config) === "input").map(({ site }) => site.path);
  return { config: { ...config, feedforwardModules: expressionFor(inner) }, params };
}
