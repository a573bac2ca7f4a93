import { defineMethod, float32, targetFields, targetWire } from "@peftjs/core";
import type { Method } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";

const { targetModules, excludeModules, layersToTransform, modulesToSave } = targetFields;
/** Roles are left out: `targets` fills in what is not asked for. */
const fields = { targetModules, excludeModules, layersToTransform, modulesToSave };
const wire = { ...targetWire, layersPattern: undefined };
const own = { package: "@peftjs/testkit", capabilities: { merge: true, multiAdapter: true, identityAtStart: true } };

const LowRankConfig = z.strictObject({
  ...fields,
  rank: z.int().positive().default(2).describe("Rank."),
});
type LowRankConfig = z.infer<typeof LowRankConfig>;

/**
 * A stand-in for methods that add something to a layer's output: y = base(x) + x·Aᵀ·Bᵀ, A [r, in] uniform, B [out, r] zero. Its
 * response, which plug-ins may scale, is that sum's second term.
 */
export const lowRank: Method<LowRankConfig> = defineMethod<LowRankConfig>({
  ...own,
  name: "lowRank",
  description: "A low-rank addition.",
  config: LowRankConfig,
  wire: { peftType: "LOW_RANK", config: { ...wire, rank: "r" }, tensors: { a: "a.weight", b: "b.weight" } },
  targets: (config) => ({ ...config, targetRoles: null, layersPattern: null }),
  init: ({ site, config: { rank }, generator }) => ({
    params: {
      a: float32(generator.uniform(rank * site.inFeatures, -1, 1), [rank, site.inFeatures]),
      b: float32(new Float32Array(site.outFeatures * rank), [site.outFeatures, rank]),
    },
  }),
  forward: ({ params, x, base }) => {
    const low = tf.matMul(x, params["a"] as tf.Tensor2D, false, true);
    return tf.add(base(x), tf.matMul(low, params["b"] as tf.Tensor2D, false, true));
  },
  delta: ({ site, params }) => {
    const product: tf.Tensor2D = tf.matMul(params["b"] as tf.Tensor2D, params["a"] as tf.Tensor2D);
    return { weight: site.layout === "out_in" ? product : (tf.transpose(product) as tf.Tensor2D) };
  },
});

const BaseWeightsConfig = z.strictObject({
  modules: z.array(z.string()).readonly().default(["query", "value"]).describe("Last names of the layers."),
  modulesToSave: fields.modulesToSave,
});
type BaseWeightsConfig = z.infer<typeof BaseWeightsConfig>;

/** A stand-in for methods that train weight matrices of the base model as they are: Wᵢ ← Wᵢ + ΔWᵢ, here of queries and values. */
export const baseWeights: Method<BaseWeightsConfig> = defineMethod<BaseWeightsConfig>({
  ...own,
  name: "baseWeights",
  description: "Weights of the base model.",
  capabilities: { ...own.capabilities, multiAdapter: false },
  config: BaseWeightsConfig,
  wire: { peftType: "BASE_WEIGHTS", config: { modules: "modules", modulesToSave: "modules_to_save" }, tensors: {} },
  targets: () => null,
  trains: ({ name, config: { modules } }) => modules.some((module) => name.endsWith(`.${module}.weight`)),
});
