import { defineMethod, float32, int32, isBias, PeftError, zeros } from "@peftjs/core";
import type {
  Delta,
  DeltaContext,
  ForwardContext,
  InitContext,
  InitResult,
  LayerSite,
  Method,
  Named,
  SiteContext,
} from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { resolveRocoft, RocoftConfig, rocoftSiteConfig, rocoftWire } from "./config.ts";
import { asLora } from "./interchange/lora.ts";
import { asShira } from "./interchange/shira.ts";
import { restoreRocoft, rocoftFile } from "./file.ts";
import { changedProduct, changeOfWeight, columnUpdate, rowUpdate, type Change } from "./layer.ts";
import { scoreSelection } from "./select/calibrate.ts";
import {
  areLeading,
  coordinateCount,
  indexValues,
  selectCoordinates,
  type ChosenCoordinates,
} from "./select/indices.ts";
import { sliceOf } from "./slice.ts";

/**
 * RoCoFT (Kowsher et al. 2024): of each weight W [out, in], r rows or r columns learn, or single entries: W = W₀ + ΔW with ΔW zero
 * elsewhere. Rows: y[:, R] = x·(W₀[R, :] + D)ᵀ, D [r, in]; columns: y = x·W₀ᵀ + x[:, C]·Dᵀ, D [out, r]. D starts at zero. The biases of
 * these layers learn as well.
 */
export const rocoft: Method<RocoftConfig> = defineMethod<RocoftConfig>({
  name: "rocoft",
  description: "RoCoFT: a few rows, columns or entries of each weight learn.",
  package: "@peftjs/method-rocoft",
  config: RocoftConfig,
  wire: rocoftWire,
  // Scores, values that are trained themselves, and layers that are computed by way of the changed weight.
  capabilities: { merge: true, multiAdapter: true, identityAtStart: true, quantizedBase: "values" },
  interchange: [asLora, asShira],
  resolve: resolveRocoft,
  targets: (config) => config,
  siteConfig: rocoftSiteConfig,
  calibrate: scoreSelection,
  init,
  forward,
  delta,
  trains: ({ name, targets, config }) =>
    trainsBias(name, { targets, config }) || (config.norms === "train" && isOfNorm(name)),
  file: rocoftFile,
  restore: restoreRocoft,
});

function init(context: InitContext<RocoftConfig>): InitResult {
  const { site, config, generator } = context;
  if (site.kind !== "linear") {
    throw new PeftError(
      "CONFIG_INVALID",
      `"${site.path}" is an embedding; RoCoFT adapts linear layers. Leave it out of targetModules, or name it in modulesToSave to train all of it.`,
    );
  }
  const coordinates = selectCoordinates({
    ...{ site, config, generator },
    chosen: context.calibration as ChosenCoordinates | undefined,
  });
  const bias = config.bias === "none" || site.bias === null ? {} : { biasDelta: zeros([site.outFeatures]) };
  const k = coordinates.length;
  if (k === 0) return { params: bias };
  const { mode } = config;
  const indices = int32(
    indexValues(coordinates, { mode, inFeatures: site.inFeatures }),
    mode === "entries" ? [2, k] : [k],
  );
  if (config.parameterisation === "delta")
    return { params: { delta: zeros(shapeOf(k, { site, config })), ...bias }, buffers: { indices } };
  // A file holds the change, and `restore` adds the start to it.
  const start = context.fromFile
    ? zeros(shapeOf(k, { site, config }))
    : float32(sliceOf(context.weight.data, coordinates, { site, mode }), shapeOf(k, { site, config }));
  return { params: { slice: start, ...bias }, buffers: { indices, start } };
}

function shapeOf(k: number, { site, config: { mode } }: SiteContext<RocoftConfig>): readonly number[] {
  return { row: [k, site.inFeatures], column: [site.outFeatures, k], entries: [k] }[mode];
}

/** y = x·(W₀ + ΔW)ᵀ + b + δb. */
function forward(context: ForwardContext<RocoftConfig>): tf.Tensor2D {
  const { site, config, params, x, innermost, weight } = context;
  const change = changeOf(context);
  if (change === null) return below(context);
  if (change.mode !== "entries" && (config.forward === "split" || !innermost)) {
    const update = change.mode === "row" ? rowUpdate : columnUpdate;
    return tf.add(below(context), update(x, change.d, change.at));
  }
  const { layout } = site;
  if (!innermost) return tf.add(below(context), changedProduct(x, change, { weight: tf.zerosLike(weight), layout }));
  const biases = [context.bias, params["biasDelta"]].filter((bias) => bias !== null && bias !== undefined);
  return biases.reduce<tf.Tensor2D>((y, bias) => tf.add(y, bias), changedProduct(x, change, { weight, layout }));
}

/** The layer below, and what its bias has learned. Where it can be, the biases are added to each other first: a pass over y less. */
function below({
  site,
  params,
  x,
  base,
  innermost,
  weight,
  bias,
  training,
}: ForwardContext<RocoftConfig>): tf.Tensor2D {
  const learned = params["biasDelta"];
  if (learned === undefined) return base(x);
  if (!innermost || !training || bias === null) return tf.add(base(x), learned);
  return tf.add(tf.matMul(x, weight, false, site.layout === "out_in"), tf.add(bias, learned));
}

function delta(context: DeltaContext<RocoftConfig>): Delta {
  const change = changeOf(context);
  const weight = change === null ? tf.zerosLike(context.weight) : changeOfWeight(change, context.site);
  const bias = context.params["biasDelta"];
  return bias === undefined ? { weight } : { weight, bias: bias as tf.Tensor1D };
}

/** What learns of a layer's weight; null where only its bias does. */
function changeOf({
  site,
  config,
  params,
}: SiteContext<RocoftConfig> & { readonly params: Named<tf.Tensor> }): Change | null {
  const { indices, slice, start } = params;
  if (indices === undefined) return null;
  const d = slice === undefined || start === undefined ? params["delta"] : tf.sub(slice, start);
  const { mode } = config;
  if (mode === "entries") return { mode, d: d as tf.Tensor1D, indices: indices as tf.Tensor2D };
  const size = coordinateCount(site, mode);
  return {
    mode,
    d: d as tf.Tensor2D,
    at: { indices: indices as tf.Tensor1D, size, leading: areLeading({ site, config }) },
  };
}

/** Whether a base parameter is a bias that learns as it is; those of adapted layers have a change of their own. */
function trainsBias(
  name: string,
  { targets, config }: { readonly targets: readonly LayerSite[]; readonly config: RocoftConfig },
): boolean {
  if (config.bias !== "all" || targets.some(({ bias }) => bias === name)) return false;
  return isBias(name);
}

function isOfNorm(name: string): boolean {
  return /(?:^|\.)(?:[^.]*norm[^.]*|ln_[^.]+)\.[^.]+$/iu.test(name);
}
