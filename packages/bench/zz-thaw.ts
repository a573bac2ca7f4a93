import { defineTrainingPlugin, int32, peft } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { lora } from "@peftjs/method-lora-family";
import { fromConfig } from "@peftjs/models";
import { Trainer } from "@peftjs/train";
import { z } from "zod";

const ThawConfig = z.strictObject({
  every: z.int().positive().default(100).describe("Optimizer steps after which the next block begins to learn."),
  decay: z.number().positive().default(0.9).describe("Learning rate of a block in relation to the one above it."),
});
type ThawConfig = z.infer<typeof ThawConfig>;

const thaw = defineTrainingPlugin<ThawConfig>({
  name: "thaw",
  description: "Blocks begin to learn one after the other, from the top.",
  package: "my-package",
  config: ThawConfig,
  exclusive: "blocks",
  parameterGroup: ({ block }, { decay }) => (block === null ? {} : { lrScale: decay ** -block }),
  start: ({ config, blocks, tools }) => ({
    choosesBlocks: true,
    beforeStep: (step) => {
      const count = Math.min(blocks, Math.ceil(step / config.every));
      if (step % config.every === 1) tools.record({ learning: count });
      return { blocks: Array.from({ length: count }, (_, i) => blocks - 1 - i) };
    },
  }),
  report: (records) => ({ "thaw.json": JSON.stringify(records) }),
});

const shape = { hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 32, num_labels: 2 };
const base = fromConfig({ model_type: "bert", vocab_size: 30, max_position_embeddings: 8, ...shape }, { seed: 0 });
const model = await peft(base).use(lora, { rank: 4 }).use(thaw, { every: 2 }).apply();
const train = {
  batchesPerEpoch: 6,
  batchAt: (index: number) => ({
    input_ids: int32([5, 6 + (index % 2), 7, 8, 9, 10], [2, 3]),
    labels: int32([0, 1], [2]),
  }),
};
const trainer = new Trainer({ model, engine: await createEngine({ threads: 1 }), train, config: { epochs: 1 } });
trainer.on("step", ({ step, blocks }) => console.log(step, blocks)); // 1 [2], 2 [2], 3 [2, 1], …
await trainer.train();
await trainer.dispose();
