import { createGenerator, int32, peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { rocoft } from "@peftjs/method-rocoft";
import { fromConfig } from "@peftjs/models";
import { describe, expect, it } from "vitest";
import { kernelMatrix } from "./kernel.ts";
import { accuracyOf, kernelRegression } from "./regression.ts";
import { regressModel } from "./regressionOfModel.ts";
import type { LabelledExamples } from "./regressionOfModel.ts";

const sizes = { vocab_size: 20, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8 };
const config = { model_type: "bert", max_position_embeddings: 8, type_vocab_size: 1, initializer_range: 0.3, ...sizes };

const attached = (): Promise<PeftModel> =>
  peft(fromConfig(config, { labels: ["low", "high"], seed: 1 }))
    .use(rocoft, { rank: 2, bias: "none" })
    .apply();

/** Three tokens below 10 for class 0, from 10 on for class 1. */
function examples(count: number, seed: number): LabelledExamples {
  const generator = createGenerator(seed);
  const labels = Array.from({ length: count }, (_, i) => i % 2);
  const batchOf = (label: number): Named<HostTensor> => ({
    input_ids: int32(
      Int32Array.from({ length: 3 }, () => 10 * label + (generator.next32() % 10)),
      [1, 3],
    ),
    attention_mask: int32([1, 1, 1], [1, 3]),
    token_type_ids: int32([0, 0, 0], [1, 3]),
  });
  return { examples: labels.map(batchOf), labels };
}

describe("kernel regression of a model", () => {
  it("predicts from the kernel and, when it is told to, from the first outputs", async () => {
    const [model, train, test] = [await attached(), examples(10, 1), examples(6, 2)];
    const plain = await regressModel(model, { train, test });
    expect(plain.kernel.shape).toEqual([10, 2, 10, 2]);
    expect(plain.cross.shape).toEqual([10, 2, 6, 2]);
    const { kernel, cross } = plain;
    const input = { train: kernelMatrix(kernel), cross: kernelMatrix(cross), labels: train.labels, outputs: 2 };
    expect(plain.scores.data).toEqual(kernelRegression(input).scores.data);
    expect(plain.accuracy).toBe(accuracyOf(plain.predictions, test.labels));
    const adjustForInit = { train: cross.values.data, test: cross.otherValues.data };
    const adjusted = await regressModel(model, { train, test, solver: { kind: "leastSquares", adjustForInit: true } });
    expect(adjusted.scores.data).toEqual(kernelRegression(input, { kind: "leastSquares", adjustForInit }).scores.data);
    expect(adjusted.scores.data).not.toEqual(plain.scores.data);
  });

  it("gives the examples it learned from their targets back", async () => {
    const [model, train] = [await attached(), examples(6, 3)];
    const { accuracy, scores } = await regressModel(model, { train, test: train });
    expect(accuracy).toBe(1);
    const targets = Array.from(train.labels).flatMap((label) => (label === 0 ? [1, 0] : [0, 1]));
    scores.data.forEach((score, at) => expect(score).toBeCloseTo(targets[at] ?? NaN, 4));
  });
});
