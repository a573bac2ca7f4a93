import { crossEntropy, defineMethod, float32, kaimingUniform, zeros } from "@peftjs/core";
import type { BaseModel, HostTensor, LayerSite, ParameterGroup } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";
import { sequence } from "./tinyModel.ts";

/** A linear classifier of tinyBatch's features as core sees a model. */
export function linearModel(): BaseModel {
  const next = sequence(3);
  const parameters = new Map<string, HostTensor>([
    ["classifier.weight", float32(Array.from({ length: 18 }, next), [3, 6])],
    ["classifier.bias", float32([0, 0, 0], [3])],
  ]);
  const site: LayerSite = {
    path: "classifier",
    kind: "linear",
    role: "classifier",
    block: null,
    inFeatures: 6,
    outFeatures: 3,
    layout: "out_in",
    weight: "classifier.weight",
    bias: "classifier.bias",
  };
  return {
    name: "linear",
    configJson: {},
    modelType: "linear",
    head: { kind: "sequenceClassification", labels: ["a", "b", "c"] },
    parameters,
    sites: [site],
    defaultTargets: ["classifier"],
    headModules: [],
    forward: (f, batch) => ({ logits: f.linear("classifier", batch["x"] as tf.Tensor) }),
    loss: (outputs, batch) =>
      crossEntropy(
        outputs["logits"] as tf.Tensor2D,
        batch["labels"] as tf.Tensor1D,
        batch["row_weights"] as tf.Tensor1D,
      ),
  };
}

/** Targets of the toy methods: the model's one layer. */
export const theClassifier = () => ({
  targetModules: ["classifier"],
  targetRoles: null,
  excludeModules: null,
  layersToTransform: null,
  layersPattern: null,
  modulesToSave: null,
});

/** What `tracked` was called with. */
export interface Seen {
  /** Short names with a gradient, per trace. */
  readonly gradients: string[][];
  readonly afterSteps: { readonly step: number; readonly totalSteps: number | null; readonly average: number[] }[];
}

const TrackedConfig = z.object({
  dropout: z.number().default(0),
  group: z.custom<ParameterGroup>().default({}),
});

/**
 * y = x·Wᵀ + b + (scale ⊙ dropout(x))·Aᵀ. Keeps averages of |A·∇A| and, every third step, sets the entry of A with the smallest one to
 * zero. `idle` never reaches the loss.
 */
export function tracked(seen: Seen = { gradients: [], afterSteps: [] }) {
  return defineMethod<z.infer<typeof TrackedConfig>>({
    name: "tracked",
    description: "",
    package: "",
    config: TrackedConfig,
    wire: { peftType: "TRACKED", config: {}, tensors: { a: "a", idle: "idle", scale: "scale" } },
    capabilities: { merge: false, multiAdapter: true, identityAtStart: false },
    targets: theClassifier,
    init: ({ generator }) => ({
      params: { a: kaimingUniform([3, 6], generator), idle: float32([1, 2], [2]) },
      buffers: { scale: float32([1, 1, 0.5, 1, 1, 2], [6]) },
      state: { average: zeros([3, 6]), zeroed: zeros([1]) },
    }),
    forward: ({ params, base, x, dropout, config }) => {
      const scaled = tf.mul(dropout(x, config.dropout), params["scale"] as tf.Tensor) as tf.Tensor2D;
      return tf.add(base(x), tf.matMul(scaled, params["a"] as tf.Tensor2D, false, true));
    },
    parameterGroup: ({ name, config }) => (name === "a" ? config.group : {}),
    track: ({ params, gradients, state }) => {
      seen.gradients.push(Object.keys(gradients));
      const importance = tf.abs(tf.mul(params["a"] as tf.Tensor, gradients["a"] as tf.Tensor));
      return { average: tf.add(tf.mul(0.75, state["average"] as tf.Tensor), tf.mul(0.25, importance)) };
    },
    afterStep: ({ step, totalSteps, sites: [site] }) => {
      const { average, zeroed } = site?.state as Record<string, HostTensor>;
      const values = Array.from((average as HostTensor).data);
      seen.afterSteps.push({ step, totalSteps, average: values });
      if (step % 3 !== 0) return;
      const { data } = site?.params["a"] as HostTensor;
      data[values.indexOf(Math.min(...values))] = 0;
      (zeroed as HostTensor).data[0] = ((zeroed as HostTensor).data[0] as number) + 1;
    },
  });
}
