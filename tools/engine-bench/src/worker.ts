import { createInterface } from "node:readline";
import { int32, peft } from "@peftjs/core";
import type { HostTensor, Named, PeftModel } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { full } from "@peftjs/method-classic";
import { lora } from "@peftjs/method-lora-family";
import { fromConfig } from "@peftjs/models";
import { adamW, Stepper } from "@peftjs/train";
import type { Case } from "./cases.ts";

/** A child process that runs one step per line on standard input and answers with one JSON line. */
const [json = "", threads = "2"] = process.argv.slice(2);
const task = JSON.parse(json) as Case;
const model = await adapted(task);
const stepper = new Stepper({
  model,
  engine: await createEngine({ kind: "onnx", threads: Number(threads) }),
  optimizer: adamW({}),
  maxGradNorm: null,
  seed: 1,
});
const batch = inputs(task);
let step = 0;
process.stdout.write("ready\n");
for await (const _ of createInterface({ input: process.stdin })) {
  const began = performance.now();
  const { loss } = await stepper.step({ batches: [batch], firstBatch: step, step: ++step, learningRate: 1e-4 });
  const milliseconds = performance.now() - began;
  const { traceMilliseconds, openMilliseconds } = stepper.counters;
  const peakMemoryBytes = process.resourceUsage().maxRSS * 1024;
  process.stdout.write(
    `${JSON.stringify({ milliseconds, loss, peakMemoryBytes, traceMilliseconds, openMilliseconds })}\n`,
  );
}

async function adapted({ layers, hidden, heads, vocabulary, method }: Case): Promise<PeftModel> {
  const config = {
    model_type: "bert",
    vocab_size: vocabulary,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: 4 * hidden,
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  };
  const base = fromConfig(config, { numLabels: 2, seed: 1 });
  return method === "lora" ? peft(base).use(lora, { rank: 8, alpha: 16 }).apply() : peft(base).use(full).apply();
}

function inputs({ batch: rows, length, vocabulary }: Case): Named<HostTensor> {
  const shape = [rows, length];
  const ids = Int32Array.from({ length: rows * length }, (_, i) => 5 + ((i * 7919) % (vocabulary - 5)));
  return {
    input_ids: int32(ids, shape),
    token_type_ids: int32(new Int32Array(ids.length), shape),
    attention_mask: int32(new Int32Array(ids.length).fill(1), shape),
    labels: int32(
      Int32Array.from({ length: rows }, (_, i) => i % 2),
      [rows],
    ),
  };
}
