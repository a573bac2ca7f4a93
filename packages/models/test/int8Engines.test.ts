import { int32, peft, widen, type BaseModel, type HostTensor } from "@peftjs/core";
import { createEngine, type EngineOptions } from "@peftjs/engine";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { describe, expect, it } from "vitest";
import { fromConfig } from "../src/index.ts";

const config = {
  vocab_size: 60,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 64,
  max_position_embeddings: 20,
  // Large enough for the layers to matter beside the residual sums.
  initializer_range: 0.2,
};

async function logits(base: BaseModel, options: EngineOptions): Promise<Float32Array> {
  const model = await peft(base).apply();
  const engine = await createEngine(options);
  const program = engine.compile(({ frozen = {}, batch = {} }) => ({
    outputs: model.forward({ frozen, trainable: {} }, batch, { training: false }),
  }));
  const ids = Array.from({ length: 24 }, (_, i) => 2 + ((i * i) % 57));
  const { outputs } = await program.run({ frozen: model.frozen(), batch: { input_ids: int32(ids, [2, 12]) } });
  await program.dispose();
  return (outputs?.logits as HostTensor).data as Float32Array;
}

function difference(actual: Float32Array, expected: Float32Array): number {
  const norm = (values: Float32Array): number => Math.hypot(...values);
  return norm(actual.map((value, i) => value - (expected[i] as number))) / norm(expected);
}

describe.each(["bert", "roberta", "roberta-prelayernorm"])("%s, its tied decoder in eight bits too", (modelType) => {
  const held = fromConfig(
    { ...config, model_type: modelType },
    { head: "maskedLM", seed: 3, frozen: { type: "int8", embeddings: "int8" } },
  );
  const wide = { ...held, parameters: new Map([...held.parameters].map(([name, tensor]) => [name, widen(tensor)])) };

  it("computes with the dequantized values in the eager engine", async () => {
    expect(await logits(held, eagerEngine)).toEqual(await logits(wide, eagerEngine));
  });

  it("computes nearly the same with integers in the compiled one", async () => {
    const error = difference(await logits(held, compiledEngine), await logits(wide, compiledEngine));
    // Measured: 1.2 to 1.6 per cent.
    expect(error).toBeLessThan(0.03);
    // Zero would be a product in float32.
    expect(error).toBeGreaterThan(1e-4);
  });
});
