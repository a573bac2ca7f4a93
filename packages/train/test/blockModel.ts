import { crossEntropy, defineMethod, float32, kaimingUniform, zeros } from "@peftjs/core";
import type { BaseModel, HostTensor, LayerSite } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import { sequence } from "./tinyModel.ts";

export const BLOCKS = 3;

/** h ← tanh(h·Wᵇ·Vᵇ + h) through three blocks of two layers, and a classifier of tinyBatch's features on top. */
export function blockModel(): BaseModel {
  const next = sequence(5);
  const parameters = new Map<string, HostTensor>();
  const layer = (path: string, outFeatures: number, block: number | null): LayerSite => {
    const size = outFeatures * 6;
    parameters.set(`${path}.weight`, float32(Array.from({ length: size }, next), [outFeatures, 6]));
    return {
      ...{ path, kind: "linear", role: block === null ? "classifier" : "query", block, inFeatures: 6, outFeatures },
      ...{ layout: "out_in", weight: `${path}.weight`, bias: null },
    };
  };
  const blocks = Array.from({ length: BLOCKS }, (_, b) =>
    ["up", "down"].map((name) => layer(`blocks.${b}.${name}`, 6, b)),
  );
  return {
    name: "blocks",
    configJson: {},
    modelType: "blocks",
    head: { kind: "sequenceClassification", labels: ["a", "b", "c"] },
    sites: [...blocks.flat(), layer("classifier", 3, null)],
    parameters,
    defaultTargets: ["up", "down"],
    headModules: ["classifier"],
    forward: (f, batch) => {
      let h = batch["x"] as tf.Tensor;
      for (let b = 0; b < BLOCKS; b++) {
        h = f.block(`blocks.${b}`, [h], (x) =>
          tf.tanh(tf.add(x as tf.Tensor, f.linear(`blocks.${b}.down`, f.linear(`blocks.${b}.up`, x as tf.Tensor)))),
        );
      }
      return { logits: f.linear("classifier", h) };
    },
    loss: (outputs, batch) =>
      crossEntropy(
        outputs["logits"] as tf.Tensor2D,
        batch["labels"] as tf.Tensor1D,
        batch["row_weights"] as tf.Tensor1D,
      ),
  };
}

const AddedConfig = z.object({
  targetModules: z.array(z.string()).default(["up", "down"]),
  counts: z.boolean().default(false),
  modulesToSave: z.array(z.string()).nullable().default(null),
});

/** y = x·Wᵀ + x·Aᵀ + c. With `counts`, each layer counts the steps in which it had a gradient. */
export const added = defineMethod<z.infer<typeof AddedConfig>>({
  name: "added",
  description: "",
  package: "",
  config: AddedConfig,
  wire: { peftType: "ADDED", config: {}, tensors: { a: "a", c: "c" } },
  capabilities: { merge: false, multiAdapter: true, identityAtStart: false },
  targets: ({ targetModules }) => ({
    ...{ targetModules, targetRoles: null, excludeModules: null, layersToTransform: null, layersPattern: null },
    modulesToSave: null,
  }),
  init: ({ site, generator, config }) => ({
    params: { a: kaimingUniform([site.outFeatures, site.inFeatures], generator), c: zeros([site.outFeatures]) },
    ...(config.counts && { state: { moved: zeros([site.outFeatures]) } }),
  }),
  forward: ({ params, base, x }) =>
    tf.add(tf.add(base(x), tf.matMul(x, params["a"] as tf.Tensor2D, false, true)), params["c"] as tf.Tensor),
  track: ({ gradients, state }) =>
    gradients["c"] === undefined || state["moved"] === undefined
      ? {}
      : { moved: tf.add(tf.mul(state["moved"], 0.5), tf.abs(gradients["c"])) },
});
