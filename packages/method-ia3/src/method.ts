import { defineMethod, float32 } from "@peftjs/core";
import type {
  CombineContext,
  DeltaContext,
  FileContext,
  FileForm,
  ForwardContext,
  HostTensor,
  InitContext,
  Method,
} from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { Ia3Config, ia3Wire } from "./config.ts";
import { scaleDelta, scaleInput, scaleOutput } from "./layer.ts";
import { sideOf, withPlacement } from "./placement.ts";

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

/** Readers tell the two kinds of layers apart by name alone, so layers that were chosen by role are written with their whole paths. */
function file({ config, sites }: FileContext<Ia3Config>): FileForm<Ia3Config> {
  const params = new Map(sites.map(({ site, params: tensors }) => [site.path, tensors]));
  if (config.targetRoles === null) return { config, params };
  const paths = sites.map(({ site }) => site.path);
  const inner = sites.filter(({ site }) => sideOf(site, config) === "input").map(({ site }) => site.path);
  return { config: { ...config, targetModules: paths, feedforwardModules: inner }, params };
}

/** l = Σ wᵢ·lᵢ, as in the Python library; a layer that an adapter leaves alone counts as one. */
function combine({ adapters, sites }: CombineContext<Ia3Config>): FileForm<Ia3Config> {
  const { config } = adapters[0] as (typeof adapters)[number];
  const params = sites.map(({ site, parts }) => {
    const { shape } = (parts.find((part) => part !== null) as NonNullable<(typeof parts)[number]>).params[
      "l"
    ] as HostTensor;
    const sum = new Float32Array((shape[0] as number) * (shape[1] as number));
    parts.forEach((part, i) => {
      const weight = (adapters[i] as (typeof adapters)[number]).weight;
      const l = part?.params["l"]?.data;
      for (let j = 0; j < sum.length; j++) sum[j] = (sum[j] as number) + weight * (l?.[j] ?? 1);
    });
    return [site.path, { l: float32(sum, [shape[0] as number, shape[1] as number]) }] as const;
  });
  return { config, params: new Map(params) };
}
