import { defineMethod, float32, int32, peft, type HostTensor, type Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { fromConfig } from "../src/index.ts";

const everything = defineMethod({
  name: "everything",
  description: "Trains every parameter.",
  package: "test",
  config: z.strictObject({ modulesToSave: z.array(z.string()).readonly().default([]) }),
  wire: { peftType: "EVERYTHING", config: {}, tensors: {} },
  capabilities: { merge: true, multiAdapter: false, identityAtStart: true },
  targets: () => null,
  trains: () => true,
});

const config = {
  vocab_size: 20,
  hidden_size: 8,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  intermediate_size: 16,
  max_position_embeddings: 8,
  hidden_dropout_prob: 0.3,
  attention_probs_dropout_prob: 0.3,
};
const batch = {
  input_ids: int32([3, 4, 5, 6, 7, 8, 9, 0], [2, 4]),
  attention_mask: int32([1, 1, 1, 1, 1, 1, 1, 0], [2, 4]),
  labels: int32([1, 0], [2]),
};

/** Loss and gradients of a training step, with dropout. */
async function step(
  modelType: string,
  options: { readonly recompute: boolean; readonly compiled: boolean },
): Promise<Record<string, HostTensor>> {
  const base = fromConfig({ ...config, model_type: modelType }, { numLabels: 2, seed: 1 });
  const model = await peft(base).use(everything).apply();
  const engine = await createEngine(options.compiled ? compiledEngine : eagerEngine);
  const compiled = engine.compile(({ trainable = {}, frozen = {}, data = {}, scalars = {} }) => {
    const names = Object.keys(trainable);
    const key = scalars["key"] as tf.Tensor1D;
    const mode = { training: true, key, recompute: options.recompute };
    const loss = (...values: tf.Tensor[]): tf.Scalar => {
      const learning = Object.fromEntries(names.map((name, i) => [name, values[i] as tf.Tensor]));
      return model.loss({ frozen, trainable: learning }, data, mode);
    };
    const { value, grads } = tf.valueAndGrads(loss)(Object.values(trainable));
    return { out: { loss: value, ...Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])) } };
  });
  const args = {
    trainable: model.trainable(),
    frozen: model.frozen(),
    data: batch,
    scalars: { key: int32([1, 2], [2]) },
  };
  const { out } = await compiled.run(args as Readonly<Record<string, Named<HostTensor>>>);
  await compiled.dispose();
  return out as Record<string, HostTensor>;
}

describe.each(["bert", "roberta-prelayernorm"])("%s with recomputed blocks", (modelType) => {
  it.each([true, false])("has the gradients of the plain step, dropout included (compiled: %s)", async (compiled) => {
    const plain = await step(modelType, { recompute: false, compiled });
    const again = await step(modelType, { recompute: true, compiled });
    expect(Object.keys(again)).toEqual(Object.keys(plain));
    for (const [name, { data }] of Object.entries(plain)) {
      const largest = Math.max(...Array.from(data, Math.abs), 1e-6);
      data.forEach((value, i) =>
        expect(Math.abs(value - (again[name]?.data[i] as number)) / largest, name).toBeLessThan(1e-5),
      );
    }
  });
});

it("refuses a block whose trainable parameters lie elsewhere, instead of losing their gradient", async () => {
  const base = fromConfig({ ...config, model_type: "bert" }, { numLabels: 2, seed: 1 });
  const model = await peft({
    ...base,
    forward: (f) => ({
      logits: f.block("nowhere", [tf.zeros([1, 8])], (x) =>
        tf.matMul(x, f.parameter("classifier.weight"), false, true),
      ),
    }),
  })
    .use(everything)
    .apply();
  const engine = await createEngine(eagerEngine);
  const run = engine.compile(({ trainable = {}, frozen = {} }) => ({
    out: model.forward({ trainable, frozen }, {}, { training: true, recompute: true }),
  }));
  await expect(run.run({ trainable: model.trainable(), frozen: { none: float32([0], [1]) } })).rejects.toMatchObject({
    code: "BLOCK_INVALID",
  });
});
