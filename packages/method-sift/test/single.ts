import { createGenerator, defineMethod, float32, int32, peft } from "@peftjs/core";
import type { BaseModel, HostTensor, LayerSite, Method, Named, PeftModel } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";
import { linearSite } from "@peftjs/testkit";
import { Trainer } from "@peftjs/train";
import type { TrainingConfigInput } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import { sift } from "../src/index.ts";
import type { SiftConfig } from "../src/index.ts";

/** One layer W = [[1, 2, 3], [4, 5, 6]] with bias 0 and the loss Σ W ⊙ G + Σ b ⊙ Σᵢ G·ᵢ, so that the gradient of W is the batch's G. */
export function singleLayer(layout: LayerSite["layout"] = "out_in"): BaseModel {
  const site = linearSite({ inFeatures: 3, outFeatures: 2, layout, bias: "layer.bias" });
  const weight = layout === "out_in" ? float32([1, 2, 3, 4, 5, 6], [2, 3]) : float32([1, 4, 2, 5, 3, 6], [3, 2]);
  return {
    ...{ name: "single", configJson: {}, modelType: "single", head: { kind: "none" } },
    ...{ sites: [site], defaultTargets: ["layer"], headModules: [] },
    parameters: new Map([
      ["layer.weight", weight],
      ["layer.bias", float32([0, 0], [2])],
    ]),
    forward: (f, batch) => ({ y: f.linear("layer", batch["x"] as tf.Tensor) }),
    loss: (outputs, batch) => tf.sum(tf.mul(outputs["y"] as tf.Tensor, tf.transpose(batch["labels"] as tf.Tensor))),
  };
}

/** The batch whose gradient is `gradient` [2, 3]. */
export function gradientBatch(gradient: readonly number[]): Named<HostTensor> {
  return { x: float32([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]), labels: float32(gradient, [2, 3]) };
}

const shape = {
  ...{ vocab_size: 40, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 24 },
  ...{ hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
};

export function tinyRoberta(): BaseModel {
  return fromConfig(
    { ...shape, model_type: "roberta", max_position_embeddings: 20, pad_token_id: 1, initializer_range: 0.3 },
    { labels: ["a", "b", "c"], seed: 3 },
  );
}

/** Batch `index` of a fixed sequence. */
export function batchAt(index: number): Named<HostTensor> {
  const generator = createGenerator(50 + index);
  const draw = (count: number, low: number, high: number): number[] =>
    Array.from(generator.uniform(count, low, high), Math.floor);
  return { input_ids: int32(draw(4 * 8, 4, 40), [4, 8]), labels: int32(draw(4, 0, 3), [4]) };
}

export const batches = Array.from({ length: 4 }, (_, index) => batchAt(index));

export interface Attached {
  readonly base: BaseModel;
  readonly engine: Engine;
  readonly data?: readonly Named<HostTensor>[];
  readonly warnings?: string[];
}

/** A fresh SIFT adapter. */
export function attach(
  config: Partial<SiftConfig>,
  { base, engine, data = batches, warnings = [] }: Attached,
): Promise<PeftModel> {
  return peft(base)
    .use(sift, config, { onWarning: (message) => void warnings.push(message) })
    .apply({ batches: data, runner: engine });
}

/** Chosen entries by tensor. */
export function chosen(model: PeftModel): Record<string, number[]> {
  const found = [...model.adapters.get("default")!.buffers].filter(([key]) => /\.(?:i|biasI)ndices$/u.test(key));
  return Object.fromEntries(found.map(([key, { data }]) => [key, [...data]]));
}

/** Trains on the batches of a sequence, one step each; the losses. */
export async function train(
  model: PeftModel,
  { engine, data = batches, config = {} }: { engine: Engine; data?: typeof batches; config?: TrainingConfigInput },
): Promise<number[]> {
  const losses: number[] = [];
  const trainer = new Trainer({
    ...{ model, engine },
    train: { batchesPerEpoch: data.length, batchAt: (index) => data[index] as Named<HostTensor> },
    config: {
      ...{ epochs: 1, schedule: "constant", warmupSteps: 0, evalEvery: "never", maxGradNorm: null },
      ...{ learningRate: 1e-2, ...config },
    },
    loggers: [{ step: ({ loss }) => void losses.push(loss) }],
  });
  await trainer.train();
  await trainer.dispose();
  return losses;
}

/** Trains the weights and biases of its targets as they are: what SIFT of rate 1 comes to. */
export const dense: Method<SiftConfig> = defineMethod<SiftConfig>({
  ...{ name: "dense", description: "Trains layers.", package: "@peftjs/method-sift" },
  ...{ config: sift.config, wire: sift.wire },
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: (config) => config,
  trains: ({ name, targets }) => targets.some(({ weight, bias }) => weight === name || bias === name),
});
