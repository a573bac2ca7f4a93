/** One run of a model with dropout and state, for the test that kills it. Arguments: engine kind, output folder, `--slow` to be killable. */
import { peft } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { Trainer } from "../src/index.ts";
import { linearModel, tracked } from "./linearModel.ts";
import { tinyEvaluation, tinyPlan } from "./tinyModel.ts";

const [kind = "eager", outputDir = ""] = process.argv.slice(2);
const engine = await createEngine(kind === "eager" ? { kind, backend: "cpu" } : { kind: "onnx", threads: 1 });
const plan = tinyPlan();
const slowly = process.argv.includes("--slow");
const trainer = new Trainer({
  model: await peft(linearModel()).use(tracked(), { dropout: 0.2 }).apply(),
  engine,
  train: plan,
  evaluation: tinyEvaluation(),
  config: { epochs: 5, learningRate: 0.05, saveEvery: 4, evalEvery: 5, outputDir, resume: true },
});
trainer.on("step", () => {
  // Time for the parent to see the log and to kill this process in the middle of the run.
  if (slowly) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 40);
});
await trainer.train();
await trainer.dispose();
