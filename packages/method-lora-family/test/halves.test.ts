import { int32, narrow, peft, widen } from "@peftjs/core";
import type { BaseModel, HalfType, HostTensor, Named, StoredTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { adamW, Stepper } from "@peftjs/train";
import { describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";

/** Wide enough that compiled programs widen the weights anew for every product. */
const config = {
  model_type: "bert",
  vocab_size: 300,
  hidden_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 512,
  max_position_embeddings: 8,
};
const batch = {
  input_ids: int32([3, 4, 5, 299, 7, 8, 9, 0], [2, 4]),
  attention_mask: int32([1, 1, 1, 1, 1, 1, 1, 0], [2, 4]),
  labels: int32([1, 0], [2]),
};

function baseOf(dtype: HalfType, isWide: boolean): BaseModel {
  const base = fromConfig(config, { numLabels: 2, seed: 1 });
  for (const [name, tensor] of base.parameters) {
    const half = narrow(tensor, dtype);
    base.parameters.set(name, isWide ? widen(half) : half);
  }
  return base;
}

interface Run {
  readonly losses: readonly number[];
  readonly trained: Named<HostTensor>;
  readonly frozen: Named<StoredTensor>;
}

async function train(
  base: BaseModel,
  options: { readonly kind: "eager" | "onnx"; readonly recompute: "none" | "blocks" },
): Promise<Run> {
  const model = await peft(base).use(lora, { rank: 4, alpha: 8 }, { seed: 2 }).apply();
  const engine = await createEngine(options.kind === "eager" ? eagerEngine : compiledEngine);
  const stepper = new Stepper({
    model,
    engine,
    optimizer: adamW({}),
    maxGradNorm: 1,
    seed: 3,
    recompute: options.recompute,
  });
  const losses: number[] = [];
  for (let step = 1; step <= 3; step++)
    losses.push((await stepper.step({ batches: [batch], firstBatch: step, step, learningRate: 1e-2 })).loss);
  await stepper.dispose();
  return { losses, trained: model.trainable(), frozen: model.frozen() };
}

describe.each([
  ["onnx", "none", "float16"],
  ["onnx", "blocks", "float16"],
  ["onnx", "none", "bfloat16"],
  ["eager", "none", "float16"],
] as const)("training on %s (recompute: %s) over a base in %s", (kind, recompute, dtype) => {
  it("is training over the widened base, bit for bit, dropout included", async () => {
    const half = await train(baseOf(dtype, false), { kind, recompute });
    const wide = await train(baseOf(dtype, true), { kind, recompute });
    expect(half.losses).toEqual(wide.losses);
    expect(half.losses[2]).toBeLessThan(half.losses[0]!);
    for (const [key, { data }] of Object.entries(wide.trained)) expect(half.trained[key]?.data, key).toEqual(data);
    const bytes = (named: Named<StoredTensor>): number =>
      Object.values(named).reduce((sum, { data }) => sum + data.byteLength, 0);
    expect(bytes(half.frozen)).toBe(bytes(wide.frozen) / 2);
  });
});
