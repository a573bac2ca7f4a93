import { beforeAll, describe, expect, it } from "vitest";
import * as tf from "@tensorflow/tfjs-core";
import { createModel, bert, roberta, robertaPreLayerNorm } from "../src/index.ts";
import { positionsAfterPadding, trunk } from "../src/encoder/trunk.ts";
import type { Architecture, BaseModel, Head } from "@peftjs/core";
import type { EncoderConfig } from "../src/encoder/config.ts";
import { startCpu } from "./support/backend.ts";
import { bertEnc, inputE1, inputE2, preNormEnc, robertaEnc } from "./support/inputs.ts";
import { asTensors, lossAndGradients, plainForward, runModel } from "./support/plainForward.ts";
import { deterministicWeights, mulberry32, seedOf } from "./support/weights.ts";

beforeAll(startCpu);

/** The tables of the reference are rounded to six digits. */
const ROUNDED = 2e-5;
const three: Head = { kind: "sequenceClassification", labels: ["a", "b", "c"] };

function modelOf(
  architecture: Architecture<EncoderConfig>,
  configJson: Record<string, unknown>,
  head: Head,
): BaseModel {
  const specs = architecture.parameters(architecture.parseConfig(configJson), head);
  return createModel({ architecture, configJson, head, name: "tiny", parameters: deterministicWeights(specs) });
}

function expectClose(actual: tf.Tensor | readonly number[], expected: readonly number[]): void {
  const values = actual instanceof tf.Tensor ? [...actual.dataSync()] : actual;
  expect(values.length).toBe(expected.length);
  values.forEach((value, i) =>
    expect(Math.abs(value - (expected[i] as number)), `element ${i}: ${value} vs ${expected[i]}`).toBeLessThan(ROUNDED),
  );
}

const frobenius = (x: tf.Tensor): number => Math.sqrt([...x.dataSync()].reduce((sum, value) => sum + value * value, 0));
const at = (x: tf.Tensor, ...index: number[]): tf.Tensor =>
  tf.slice(x, [...index, 0], [...index.map(() => 1), Math.min(4, x.shape.at(-1) as number)]);

describe("deterministic weights", () => {
  it("match the reference generator", () => {
    expect(seedOf("a")).toBe(3826002220);
    expect(seedOf("bert.embeddings.word_embeddings.weight")).toBe(4126983903);
    const draw = mulberry32(seedOf("a"));
    [0.621685681, 0.308223474, 0.36686075, 0.595136282].forEach((value) => expect(draw()).toBeCloseTo(value, 7));
  });
});

describe("bert", () => {
  const model = modelOf(bert, bertEnc, three);
  const config = bert.parseConfig(bertEnc);

  it("has 1,587 parameters", () => {
    expect([...model.parameters.values()].reduce((sum, tensor) => sum + tensor.data.length, 0)).toBe(1587);
  });

  it("computes the embeddings and every layer", () => {
    const f = plainForward(asTensors(model), model.sites);
    const family = {
      modelType: "bert",
      basePrefix: "bert",
      defaults: { vocabSize: 20, padTokenId: 0 },
      normOrder: "post",
      positions: "fromZero",
      tokenTypes: true,
    } as const;
    const shared = { family, path: "bert.", select: { kind: "all" } } as const;
    expectClose(
      at(tf.reshape(trunk(f, inputE1(), { ...shared, config: { ...config, numHiddenLayers: 0 } }), [2, 6, 8]), 0, 1),
      [0.336431, 0.804719, 0.759786, -0.315392],
    );
    const one = trunk(f, inputE1(), { ...shared, config: { ...config, numHiddenLayers: 1 } });
    expectClose(at(tf.reshape(one, [2, 6, 8]), 0, 1), [0.447923, 0.64421, 1.581877, -1.363825]);
    const last = tf.reshape(trunk(f, inputE1(), { ...shared, config }), [2, 6, 8]);
    expectClose(at(last, 0, 0), [0.249643, 1.556984, 0.445959, -2.633907]);
    expectClose(at(last, 1, 3), [-0.142968, -1.885677, 0.153175, -0.939818]);
  });

  it("classifies, with loss and gradient", () => {
    const batch = { ...inputE1(), labels: tf.tensor1d([2, 0], "int32") };
    expectClose(
      runModel(model, batch)["logits"] as tf.Tensor,
      [-0.285359, 0.19394, -0.672768, -0.312358, 0.190599, -0.645512],
    );
    const { loss, gradients } = lossAndGradients(model, batch);
    expectClose([loss], [1.397214]);
    const query = gradients["bert.encoder.layer.0.attention.self.query.weight"] as tf.Tensor;
    expectClose([query.dataSync()[9] as number, frobenius(query)], [-0.004973, 0.034013]);
  });
});

describe("roberta", () => {
  it("counts positions after the padding id", () => {
    expect([...positionsAfterPadding(tf.tensor2d([[0, 9, 10, 2, 1, 1]], undefined, "int32"), 1).dataSync()]).toEqual([
      2, 3, 4, 5, 1, 1,
    ]);
  });

  it("classifies, with loss and gradients", () => {
    const model = modelOf(roberta, robertaEnc, three);
    expect([...model.parameters.values()].reduce((sum, tensor) => sum + tensor.data.length, 0)).toBe(1579);
    const batch = { ...inputE2(), labels: tf.tensor1d([2, 0], "int32") };
    expectClose(
      runModel(model, batch)["logits"] as tf.Tensor,
      [-0.318868, 0.375359, -1.106402, -0.480259, 0.404323, -0.916721],
    );
    const { loss, gradients } = lossAndGradients(model, batch);
    const query = gradients["roberta.encoder.layer.0.attention.self.query.weight"] as tf.Tensor;
    const positions = gradients["roberta.embeddings.position_embeddings.weight"] as tf.Tensor;
    expectClose(
      [loss, query.dataSync()[0] as number, frobenius(query), frobenius(positions)],
      [1.715598, -0.021326, 0.042377, 0.355566],
    );
    expect([...tf.slice(positions, [0, 0], [2, 8]).dataSync()].every((value) => value === 0)).toBe(true);
  });

  it("regresses", () => {
    const model = modelOf(roberta, robertaEnc, { kind: "regression" });
    const batch = { ...inputE2(), labels: tf.tensor1d([3.8, 1.2]) };
    expectClose(runModel(model, batch)["logits"] as tf.Tensor, [-0.318868, -0.480259]);
    expectClose([lossAndGradients(model, batch).loss], [9.894171]);
  });

  it("predicts masked tokens, with full logits and at positions alone", () => {
    const model = modelOf(roberta, robertaEnc, { kind: "maskedLM" });
    const labels = tf.tensor2d(
      [
        [-100, 5, -100, 7, -100, -100],
        [-100, -100, 10, -100, -100, -100],
      ],
      undefined,
      "int32",
    );
    const full = { ...inputE2(), labels };
    const logits = runModel(model, full)["logits"] as tf.Tensor;
    expectClose(at(logits, 0, 1), [1.592822, 0.060733, -1.854035, -0.421953]);
    const whole = lossAndGradients(model, full);
    expectClose([whole.loss], [4.024905]);
    const rows = {
      ...inputE2(),
      masked_positions: tf.tensor1d([1, 3, 8, 0], "int32"),
      masked_labels: tf.tensor1d([5, 7, 10, 0], "int32"),
      masked_weights: tf.tensor1d([1, 1, 1, 0]),
    };
    expect((runModel(model, rows)["logits"] as tf.Tensor).shape).toEqual([4, 20]);
    const gathered = lossAndGradients(model, rows);
    expectClose([gathered.loss], [whole.loss]);
    for (const [name, gradient] of Object.entries(whole.gradients))
      expectClose(gathered.gradients[name] as tf.Tensor, [...gradient.dataSync()]);
  });
});

describe.each([
  ["bert", bert, bertEnc, inputE1],
  ["roberta", roberta, robertaEnc, inputE2],
  ["roberta-prelayernorm", robertaPreLayerNorm, preNormEnc, inputE2],
] as const)("%s: invariants", (modelType, architecture, configJson, input) => {
  const model = modelOf(architecture, configJson, three);

  it("goes through every site", () => {
    const f = plainForward(asTensors(model), model.sites);
    model.forward(f, input());
    expect([...f.used].sort()).toEqual(model.sites.map((site) => site.path).sort());
  });

  it("gives a row alone, without padding, the same logits", () => {
    const batch = input();
    const alone = Object.fromEntries(
      Object.entries(batch).map(([name, tensor]) => [name, tf.slice(tensor, [1, 0], [1, 4])]),
    );
    const together = tf.slice(runModel(model, batch)["logits"] as tf.Tensor, [1, 0], [1, 3]);
    expectClose(runModel(model, alone)["logits"] as tf.Tensor, [...together.dataSync()]);
  });

  it("computes the first token alone as it computes all of them", () => {
    const bare = modelOf(architecture, configJson, { kind: "none" });
    const prefix = modelType === "bert" ? "bert." : modelType === "roberta" ? "roberta." : "roberta_prelayernorm.";
    for (const [name, tensor] of bare.parameters) {
      const own = model.parameters.get(prefix + name);
      if (own !== undefined) (tensor.data as Float32Array).set(own.data);
    }
    const states = runModel(bare, input())["last_hidden_state"] as tf.Tensor;
    const first = tf.reshape(tf.slice(states, [0, 0, 0], [2, 1, 8]), [2, 8]);
    const f = plainForward(asTensors(model), model.sites);
    const logits =
      modelType === "bert"
        ? f.linear("classifier", tf.tanh(f.linear("bert.pooler.dense", first)))
        : f.linear("classifier.out_proj", tf.tanh(f.linear("classifier.dense", first)));
    expectClose(runModel(model, input())["logits"] as tf.Tensor, [...logits.dataSync()]);
  });

  it("stays finite when a row is all padding", () => {
    const batch = { ...input(), attention_mask: tf.zeros([2, 6], "int32") };
    expect([...(runModel(model, batch)["logits"] as tf.Tensor).dataSync()].every(Number.isFinite)).toBe(true);
  });
});
