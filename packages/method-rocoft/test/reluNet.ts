import { crossEntropy, defineMethod, float32, transpose, matrix } from "@peftjs/core";
import type { BaseModel, HostTensor, LayerSite, Method } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { z } from "zod";

const FIRST = [1, -1, 2, 0, 0, 1];
const SECOND = [1, 1, 0, 0, -1, 2];

/** The inputs of the worked example, one batch. */
export const inputs = { x: float32([1, 2, 2, 1, 1, 0], [3, 2]) };

/** logits = W₂·relu(W₁·x) of the worked example: W₁ [3, 2] and W₂ [2, 3] without biases, W₁ stored as [in, out] if asked for. */
export function reluNet(layout: LayerSite["layout"] = "out_in"): BaseModel {
  const first: LayerSite = {
    ...{ path: "first", kind: "linear", role: "ffnUp", block: 0, inFeatures: 2, outFeatures: 3 },
    ...{ layout, weight: "first.weight", bias: null },
  };
  const second: LayerSite = {
    ...{ path: "second", kind: "linear", role: "ffnDown", block: 0, inFeatures: 3, outFeatures: 2 },
    ...{ layout: "out_in", weight: "second.weight", bias: null },
  };
  const stored: HostTensor =
    layout === "out_in"
      ? float32(FIRST, [3, 2])
      : float32(Float32Array.from(transpose(matrix(Float64Array.from(FIRST), [3, 2])).data), [2, 3]);
  return {
    name: "relu",
    configJson: {},
    modelType: "relu",
    head: { kind: "sequenceClassification", labels: ["no", "yes"] },
    parameters: new Map([
      ["first.weight", stored],
      ["second.weight", float32(SECOND, [2, 3])],
    ]),
    sites: [first, second],
    defaultTargets: ["first", "second"],
    headModules: [],
    forward: (f, batch) => ({ logits: f.linear("second", tf.relu(f.linear("first", batch["x"] as tf.Tensor))) }),
    loss: (outputs, batch) => crossEntropy(outputs["logits"] as tf.Tensor2D, batch["labels"] as tf.Tensor1D),
  };
}

/** Trains every parameter as it is. */
export const everything: Method = defineMethod<object>({
  name: "everything",
  description: "Trains every parameter.",
  package: "@peftjs/method-rocoft",
  config: z.strictObject({}),
  wire: { peftType: "EVERYTHING", config: {}, tensors: {} },
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: () => null,
  trains: () => true,
});
