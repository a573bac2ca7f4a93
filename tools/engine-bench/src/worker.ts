import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { createEngine } from "@peftjs/engine";
import { adamW, Trainer } from "@peftjs/train";
import type { StepEvent } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import { counted } from "./counted.ts";
import { pacedBy } from "./pace.ts";
import type { StepReport, WorkerArguments } from "./side.ts";
import { adaptedModel, planOf } from "./task.ts";

/** A child process, as a user's program would be: it runs one step per line on standard input and answers with a JSON line. */
const [json = ""] = process.argv.slice(2);
const { task, threads, recompute } = JSON.parse(json) as WorkerArguments;
const { engine, preparation } = counted(await createEngine({ kind: "onnx", threads }));
let began = { time: 0, prepared: 0 };
const pace = pacedBy(process.stdin, () => {
  began = { time: performance.now(), prepared: prepared() };
});
const trainer = new Trainer({
  model: await adaptedModel(task, [pace]),
  engine,
  train: planOf(task),
  optimizer: adamW({}),
  config: {
    ...{ maxSteps: Number.MAX_SAFE_INTEGER, learningRate: 1e-4, schedule: "constant", warmupSteps: 0 },
    ...{ maxGradNorm: null, seed: 1, recompute },
  },
  loggers: [{ step }],
});
answer({ ready: { Node: process.versions.node, "ONNX Runtime": runtimeVersion() } });
await trainer.train();

/** Programs are made once; a step that is the first to need one is not charged for it. */
function step({ loss }: StepEvent): void {
  const report: StepReport = {
    milliseconds: performance.now() - began.time - (prepared() - began.prepared),
    loss,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    ours: {
      ...preparation(),
      residentBytes: process.memoryUsage.rss(),
      tensors: tf.memory().numTensors,
    },
  };
  answer(report);
}

function prepared(): number {
  const { traceMilliseconds, openMilliseconds } = preparation();
  return traceMilliseconds + openMilliseconds;
}

function answer(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** The engine's dependency, not ours. */
function runtimeVersion(): string {
  const require = createRequire(fileURLToPath(import.meta.resolve("@peftjs/engine/package.json")));
  const { version } = JSON.parse(readFileSync(require.resolve("onnxruntime-node/package.json"), "utf8")) as {
    version: string;
  };
  return version;
}
