import { crossEntropy, defineMethod, float32, int32, kaimingUniform, peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { evaluate, Stepper, Trainer, sgd } from "../src/index.ts";
import type { StepMetrics, TrainableModel } from "../src/index.ts";
import { linearModel, theClassifier } from "./linearModel.ts";
import { tinyBatch, tinyEvaluation, tinyPlan } from "./tinyModel.ts";

/** y = x·Wᵀ + b + x·Aᵀ, a penalty ‖A‖², and an A whose first element is set back to 0.25 after every step. */
const shifted = defineMethod<{ strength: number; targetModules: null }>({
  name: "shifted",
  description: "",
  package: "",
  config: z.object({ strength: z.number().default(0), targetModules: z.null().default(null) }),
  wire: { peftType: "SHIFTED", config: {}, tensors: { a: "a" } },
  capabilities: { merge: false, multiAdapter: true, identityAtStart: false },
  targets: theClassifier,
  init: ({ generator }) => ({ params: { a: kaimingUniform([3, 6], generator) } }),
  forward: ({ params, base, x }) => tf.add(base(x), tf.matMul(x, params["a"] as tf.Tensor2D, false, true)),
  penalty: ({ sites, config }) =>
    tf.mul(
      config.strength,
      tf.addN(sites.map(({ params }) => tf.sum(tf.square(params["a"] as tf.Tensor)))),
    ) as tf.Scalar,
  afterStep: ({ sites }) => {
    for (const { params } of sites) (params["a"] as HostTensor).data[0] = 0.25;
  },
});

const KEY = "default.classifier.a";

describe.each(["eager", "onnx"] as const)("a PeftModel (%s)", (kind) => {
  let engine: Engine;
  beforeAll(
    async () => void (engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind, threads: 1 })),
  );
  const model = (strength = 0): Promise<PeftModel> => peft(linearModel()).use(shifted, { strength }).apply();

  it("is trained, and its base stays as it is", async () => {
    const trained: PeftModel & TrainableModel = await model();
    const before = (await evaluate(trained, engine, tinyEvaluation())).loss as number;
    const trainer = new Trainer({
      model: trained,
      engine,
      train: tinyPlan(),
      evaluation: tinyEvaluation(),
      config: { epochs: 10, learningRate: 0.1 },
    });
    const { best } = await trainer.train();
    await trainer.dispose();
    expect(best?.value).toBeLessThan(0.7 * before);
    expect(trained.base.parameters).toEqual(linearModel().parameters);
    expect((await evaluate(trained, engine, tinyEvaluation())).loss).toBe(best?.value);
  });

  it("goes on from what afterStep wrote into its parameters", async () => {
    const trained = await model();
    const start = Float32Array.from(trained.trainable()[KEY]?.data ?? []);
    const stepper = new Stepper({ model: trained, engine, optimizer: sgd(), maxGradNorm: null, seed: 0 });
    for (let step = 1; step <= 3; step++) {
      await stepper.step({ batches: [tinyBatch(step)], firstBatch: step, step, learningRate: 0 });
      expect(Array.from(trained.trainable()[KEY]?.data ?? [])).toEqual([0.25, ...start.slice(1)]);
    }
    await stepper.dispose();
  });

  it("adds the penalty while training, not while evaluating", async () => {
    const plain = await model(0);
    const penalised = await model(10);
    const size = Array.from(plain.trainable()[KEY]?.data ?? []).reduce((sum, x) => sum + x * x, 0);
    const step = async (strength: number, micro: number): Promise<StepMetrics> => {
      const trained = await model(strength);
      const stepper = new Stepper({ model: trained, engine, optimizer: sgd(), maxGradNorm: null, seed: 0 });
      const batches = Array<Named<HostTensor>>(micro).fill(tinyBatch(0));
      const metrics = await stepper.step({ batches, firstBatch: 0, step: 1, learningRate: 0 });
      await stepper.dispose();
      return metrics;
    };
    const evaluations = await Promise.all([
      evaluate(plain, engine, tinyEvaluation()),
      evaluate(penalised, engine, tinyEvaluation()),
    ]);
    expect(evaluations[0].loss).toBe(evaluations[1].loss);
    for (const micro of [1, 2]) {
      const [without, withIt] = [await step(0, micro), await step(10, micro)];
      expect(withIt.loss - without.loss).toBeCloseTo(10 * size, 4);
      expect(withIt.penalty).toBeCloseTo(10 * size, 4);
      expect(without.penalty).toBe(0);
    }
  });
});

describe("masked tokens", () => {
  it("are counted inside the program", async () => {
    const engine = await createEngine({ kind: "onnx", threads: 1 });
    const logits = float32([2, 0, 1, 0, 3, 1, 0, 1, 5, 9, 0, 0], [4, 3]);
    const model: TrainableModel = {
      frozen: () => ({ logits }),
      trainable: () => ({}),
      setTrainable: () => undefined,
      forward: ({ frozen }) => ({ logits: frozen["logits"] as tf.Tensor }),
      loss: ({ frozen }, batch) =>
        crossEntropy(
          frozen["logits"] as tf.Tensor2D,
          batch["masked_labels"] as tf.Tensor1D,
          batch["masked_weights"] as tf.Tensor1D,
        ),
    };
    const batch = { masked_labels: int32([0, 2, 2, 1], [4]), masked_weights: float32([1, 1, 1, 0], [4]) };
    const { metrics, logits: rows } = await evaluate(model, engine, {
      batches: 2,
      batchAt: () => ({ batch, rows: [] }),
    });
    expect(metrics["maskedAccuracy"]).toBeCloseTo(2 / 3, 6);
    const expected = [
      [2, 0, 1, 0],
      [0, 3, 1, 2],
      [0, 1, 5, 2],
    ].map((row) => {
      const [label, scores] = [row[3] as number, row.slice(0, 3)];
      return Math.log(scores.reduce((sum, x) => sum + Math.exp(x), 0)) - (scores[label] as number);
    });
    expect(metrics["loss"]).toBeCloseTo(expected.reduce((a, b) => a + b) / 3, 5);
    expect(rows).toEqual([]);
  });
});
