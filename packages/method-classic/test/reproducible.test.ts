import { float32, int32, peft } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";
import { Trainer } from "@peftjs/train";
import { expect, it } from "vitest";
import { full } from "../src/index.ts";

const ROWS = 8;
const VOCABULARY = 200;
/** Of the batches, in turn: one program each. */
const LENGTHS = [32, 24];

const config = {
  model_type: "bert",
  vocab_size: VOCABULARY,
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 256,
  max_position_embeddings: 32,
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
};

function batchAt(index: number): Named<HostTensor> {
  const length = LENGTHS[index % LENGTHS.length] as number;
  const ids = Int32Array.from({ length: ROWS * length }, (_, i) => (i * 31 + index * 17) % VOCABULARY);
  return {
    input_ids: int32(ids, [ROWS, length]),
    attention_mask: int32(
      ids.map((id) => (id % 9 === 0 ? 0 : 1)),
      [ROWS, length],
    ),
    labels: int32(
      Int32Array.from({ length: ROWS }, (_, row) => (row + index) % 2),
      [ROWS],
    ),
    row_weights: float32(new Float32Array(ROWS).fill(1), [ROWS]),
  };
}

/** Losses of 12 steps and all parameters after them; tensors so large that both threads work on them. */
async function run(seed: number): Promise<{ losses: number[]; parameters: Named<HostTensor> }> {
  const model = await peft(fromConfig(config, { numLabels: 2, seed: 1 }))
    .use(full)
    .apply();
  const trainer = new Trainer({
    model,
    engine: await createEngine({ threads: 2 }),
    train: { batchesPerEpoch: 4, batchAt },
    config: { epochs: 3, learningRate: 1e-3, seed },
  });
  const losses: number[] = [];
  trainer.on("step", ({ loss }) => void losses.push(loss));
  await trainer.train();
  await trainer.dispose();
  return { losses, parameters: model.trainable() };
}

it("two runs with the same seed are bit-identical, with dropout and two threads", async () => {
  const [first, again, other] = [await run(5), await run(5), await run(6)];
  expect(first.losses).toHaveLength(12);
  expect(again.losses).toEqual(first.losses);
  expect(Object.keys(again.parameters)).toEqual(Object.keys(first.parameters));
  const bits = ({ data }: HostTensor): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  for (const [name, tensor] of Object.entries(first.parameters)) {
    expect(bits(again.parameters[name] as HostTensor).equals(bits(tensor)), name).toBe(true);
  }
  expect(other.losses).not.toEqual(first.losses);
});
