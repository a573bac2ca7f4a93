import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createEngine } from "@peftjs/engine";
import { adamW, Stepper } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import type { StepReport, WorkerArguments } from "./side.ts";
import { adaptedModel, batchOf } from "./task.ts";

/** A child process, as a user's program would be: it runs one step per line on standard input and answers with a JSON line. */
const [json = ""] = process.argv.slice(2);
const { task, threads, recompute } = JSON.parse(json) as WorkerArguments;
const stepper = new Stepper({
  model: await adaptedModel(task),
  engine: await createEngine({ kind: "onnx", threads }),
  optimizer: adamW({}),
  maxGradNorm: null,
  seed: 1,
  recompute,
});
const batch = batchOf(task);
let step = 0;
answer({ ready: { Node: process.versions.node, "ONNX Runtime": runtimeVersion() } });
for await (const _ of createInterface({ input: process.stdin })) {
  const began = performance.now();
  const { loss } = await stepper.step({ batches: [batch], firstBatch: step, step: ++step, learningRate: 1e-4 });
  const milliseconds = performance.now() - began;
  const { traceMilliseconds, openMilliseconds } = stepper.counters;
  const report: StepReport = {
    milliseconds,
    loss,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    ours: {
      traceMilliseconds,
      openMilliseconds,
      residentBytes: process.memoryUsage.rss(),
      tensors: tf.memory().numTensors,
    },
  };
  answer(report);
}

function answer(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** The engine's dependency, not ours. */
function runtimeVersion(): string {
  const engine = createRequire(fileURLToPath(import.meta.resolve("@peftjs/engine/package.json")));
  const { version } = JSON.parse(readFileSync(engine.resolve("onnxruntime-node/package.json"), "utf8")) as {
    version: string;
  };
  return version;
}
