// Runs in a folder where the packed packages are installed: a first program of a user. A tiny encoder with random weights
// learns which of two tokens a text holds, compiled and eagerly.
import assert from "node:assert/strict";
import { float32, int32, peft } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { lora } from "@peftjs/method-lora-family";
import { fromConfig } from "@peftjs/models";
import { Trainer } from "@peftjs/train";

const base = fromConfig(
  {
    model_type: "bert",
    vocab_size: 40,
    hidden_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    intermediate_size: 64,
    max_position_embeddings: 16,
    initializer_range: 0.2,
  },
  { seed: 1, head: "sequenceClassification", labels: ["without", "with"] },
);

const rows = 16;
const length = 8;
const batch = {
  input_ids: int32(
    Array.from(
      { length: rows * length },
      (_, i) => (i % length === 0 ? 2 : 4 + ((i * 7) % 30)) + (i % (2 * length) === 3 ? 1 : 0),
    ),
    [rows, length],
  ),
  attention_mask: int32(new Int32Array(rows * length).fill(1), [rows, length]),
  token_type_ids: int32(new Int32Array(rows * length), [rows, length]),
  row_weights: float32(new Float32Array(rows).fill(1), [rows]),
  labels: int32(
    Array.from({ length: rows }, (_, row) => row % 2),
    [rows],
  ),
};

for (const kind of ["onnx", "eager"]) {
  const model = await peft(base).use(lora, { rank: 4 }, { seed: 1 }).apply();
  const engine = await createEngine({ kind });
  const losses = [];
  const trainer = new Trainer({
    model,
    engine,
    train: { batchesPerEpoch: 1, batchAt: () => batch },
    config: { maxSteps: 20, learningRate: 1e-2 },
  });
  trainer.on("step", ({ loss }) => losses.push(loss));
  await trainer.train();
  await trainer.dispose();
  assert.equal(losses.length, 20);
  assert.ok(losses.every(Number.isFinite), `losses: ${losses.join(" ")}`);
  assert.ok(losses[19] < 0.8 * losses[0], `the loss fell from ${losses[0]} to ${losses[19]} only`);
  console.log(`${kind}: the loss fell from ${losses[0].toFixed(3)} to ${losses[19].toFixed(3)} in 20 steps.`);
}
