// A method that the project does not have, as somebody else would write it against the packed core: VeRA (Kopiczko et al. 2024,
// eq. 2). y = x·Wᵀ + b + β ⊙ (B·(δ ⊙ (A·x))), with A [r, in] and B [out, r] random and frozen, δ [r] and β [out] trained.
import { defineMethod, float32, kaimingUniform, targetFields, zeros } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";

const Config = z.strictObject({
  ...targetFields,
  rank: z.int().positive().default(16).describe("Rank of the frozen projections."),
  dInitial: z.number().default(0.1).describe("Start of δ."),
});

export const vera = defineMethod({
  name: "vera",
  description: "Vectors between frozen random projections.",
  package: "vera-for-peftjs",
  config: Config,
  wire: {
    peftType: "VERA",
    config: { targetModules: "target_modules", modulesToSave: "modules_to_save", rank: "r", dInitial: "d_initial" },
    tensors: { d: "vera_lambda_d", b: "vera_lambda_b", down: "vera_A", up: "vera_B" },
  },
  capabilities: { merge: true, multiAdapter: true, identityAtStart: true },
  targets: (config) => config,
  init: ({ site: { inFeatures, outFeatures }, config: { rank, dInitial }, generator }) => ({
    params: { d: float32(new Float32Array(rank).fill(dInitial), [rank]), b: zeros([outFeatures]) },
    buffers: {
      down: kaimingUniform([rank, inFeatures], generator),
      up: kaimingUniform([outFeatures, rank], generator),
    },
  }),
  forward: ({ x, base, params: { d, b, down, up } }) => {
    const narrow = tf.mul(tf.matMul(x, down, false, true), d);
    return tf.add(base(x), tf.mul(tf.matMul(narrow, up, false, true), b));
  },
  delta: ({ site, params: { d, b, down, up } }) => {
    const change = tf.mul(tf.matMul(tf.mul(up, d), down), tf.expandDims(b, 1));
    return { weight: site.layout === "out_in" ? change : tf.transpose(change) };
  },
});
