// Runs in a folder where the packed packages are installed without any method package: trains, saves, loads and merges with the
// method of vera.mjs.
import assert from "node:assert/strict";
import { int32, loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { fromConfig } from "@peftjs/models";
import { Trainer } from "@peftjs/train";
import { vera } from "./vera.mjs";

const shape = {
  ...{ vocab_size: 40, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64 },
  ...{ max_position_embeddings: 16, initializer_range: 0.2, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 },
};
const openBase = () => fromConfig({ ...shape, model_type: "bert" }, { seed: 1, labels: ["no", "yes"] });
const batch = {
  input_ids: int32(
    Array.from({ length: 64 }, (_, i) => 4 + ((i * 7) % 31)),
    [8, 8],
  ),
  attention_mask: int32(new Int32Array(64).fill(1), [8, 8]),
  labels: int32([0, 1, 0, 1, 0, 1, 0, 1], [8]),
};

async function logits(model, engine) {
  const program = engine.compile(({ frozen, trainable, batch }) => ({
    results: { logits: model.forward({ frozen, trainable }, batch, { training: false }).logits },
  }));
  const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
  await program.dispose();
  return Array.from(results.logits.data);
}

const close = (a, b, what) =>
  a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-5, `${what}: ${a} and ${b}`));

const model = await peft(openBase()).use(vera, { rank: 8 }, { seed: 1 }).apply();
for (const kind of ["onnx", "eager"]) {
  const engine = await createEngine({ kind });
  const losses = [];
  const trainer = new Trainer({
    model,
    engine,
    train: { batchesPerEpoch: 1, batchAt: () => batch },
    config: { maxSteps: 15, learningRate: 2e-2 },
    loggers: [{ step: ({ loss }) => losses.push(loss) }],
  });
  await trainer.train();
  await trainer.dispose();
  assert.ok(losses.at(-1) < losses[0], `${kind}: the loss went from ${losses[0]} to ${losses.at(-1)}`);

  const trained = await logits(model, engine);
  const base = await logits(new PeftModel(openBase()), engine);
  assert.ok(trained.some((value, i) => Math.abs(value - base[i]) > 1e-3));
  const dir = await saveAdapter(model, { dir: "adapter" });
  const again = new PeftModel(openBase());
  await loadAdapter(again, { dir, methods: new MethodRegistry().use(vera) });
  assert.deepEqual(await logits(again, engine), trained);
  close(await logits(new PeftModel(again.mergeAndUnload({ safe: true })), engine), trained, "merged and trained");
  assert.deepEqual(await again.disable(() => logits(again, engine)), base);
  console.log(
    `${kind}: a method of somebody else's trained (${losses[0].toFixed(3)} → ${losses.at(-1).toFixed(3)}), saved, loaded, merged.`,
  );
}
