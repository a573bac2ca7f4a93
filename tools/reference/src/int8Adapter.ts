import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelPath } from "@peftjs/base-mini";
import { evaluationPlan, fineTune, openTextModel, readMethodSettings, registeredMethods, rowOf } from "@peftjs/bench";
import type { TextModel } from "@peftjs/bench";
import { float32, loadAdapter, openSafetensors, PeftModel, saveAdapter, writeSafetensors } from "@peftjs/core";
import type { HostTensor, Named, StoredTensor } from "@peftjs/core";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";

/**
 * Trains adapters on the base model of packages/base-mini with its weights held in eight bits, saves them, loads them here and in Python on
 * the base model in float32, and prints a table: how far Python's logits are from ours on that model, and those from the model trained on.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/int8Adapter.ts FOLDER PYTHON [ROW,…] [TASK] [STEPS] [BATCHES]
 *
 * PYTHON: an interpreter with torch, transformers and peft, in which tools/reference/logits.py runs. ROW: of experiments/methods.yaml.
 * fixtures/int8 was made so, with `ia3 wn-hypernym3 150 2`.
 */
const [folder, python, rows = "lora,dora,ia3,pissa", taskName = "wn-hypernym3", steps = "150", count = "10"] =
  process.argv.slice(2);
if (folder === undefined || python === undefined)
  throw new Error("Usage: int8Adapter.ts FOLDER PYTHON [ROW,…] [TASK] [STEPS] [BATCHES]");

/** Of Python's logits and ours, relative to the largest. */
const LIMIT = 1e-5;
const BATCH = 32;

const task = loadTask(taskName);
const settings = readMethodSettings();
const methods = registeredMethods();
const engine = await createEngine({ kind: "onnx" });
const batches = await testBatches();
const names = rows.split(",");
const runs = new Map<string, { readonly held: Logits; readonly plain: Logits }>();
for (const name of names) runs.set(name, await run(name, join(folder, name)));
const script = fileURLToPath(new URL("../logits.py", import.meta.url));
const { status } = spawnSync(python, [script, modelPath, folder, ...names], { stdio: "inherit" });
if (status !== 0) throw new Error(`${python} ended with ${String(status)}.`);
process.exitCode = (await print()) ? 0 : 1;

/** Of all test batches one after another. */
type Logits = Float64Array;

async function open(frozen: "int8" | "float32"): Promise<TextModel> {
  const text = await openTextModel({ folder: modelPath, scheme: task, maxLength: 64, seed: 0, newHead: true, frozen });
  // A file that is committed names no folder of one machine.
  return { ...text, base: { ...text.base, name: "@peftjs/base-mini" } };
}

async function testBatches(): Promise<readonly Named<HostTensor>[]> {
  const plan = evaluationPlan(await open("float32"), task.test, BATCH);
  const all = Array.from({ length: Number(count) }, (_, i) => plan.batchAt(i).batch);
  const tensors = all.flatMap((batch, i) =>
    ["input_ids", "attention_mask", "token_type_ids"].map((name): [string, HostTensor] => {
      const { shape, data } = batch[name] as HostTensor;
      return [`${name}.${i}`, float32(Float32Array.from(data), shape)];
    }),
  );
  mkdirSync(folder as string, { recursive: true });
  await writeSafetensors(join(folder as string, "batches.safetensors"), new Map<string, StoredTensor>(tensors));
  return all;
}

async function run(name: string, dir: string): Promise<{ readonly held: Logits; readonly plain: Logits }> {
  const row = rowOf(name, settings);
  const { model } = await fineTune({
    ...{ text: await open("int8"), engine, method: methods.get(row.method), methodConfig: row.config },
    ...{ train: task.train, batchSize: 16, seed: 0 },
    training: { maxSteps: Number(steps), learningRate: row.learningRate, warmupRatio: 0.1 },
  });
  await saveAdapter(model, { dir });
  const plain = new PeftModel((await open("float32")).base);
  await loadAdapter(plain, { dir, methods });
  return { held: await logits(model), plain: await logits(plain) };
}

async function logits(model: PeftModel): Promise<Logits> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch = {} }) => ({
    results: { logits: model.forward({ frozen, trainable }, batch, { training: false })["logits"]! },
  }));
  const found: number[] = [];
  for (const batch of batches) {
    const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
    found.push(...results!["logits"]!.data);
  }
  await program.dispose();
  return Float64Array.from(found);
}

async function print(): Promise<boolean> {
  const file = await openSafetensors(join(folder as string, "logits.safetensors"));
  let good = true;
  console.log(`${taskName}, ${steps} steps, ${BATCH * Number(count)} rows of the test set, limit ${LIMIT}\n`);
  console.log("| method | Python to ours, float32 base | int8 base to float32 base | equal predictions |");
  console.log("| --- | ---: | ---: | ---: |");
  for (const [name, { held, plain }] of runs) {
    const theirs = Float64Array.from((await file.tensor(name)).data);
    const largest = Math.max(...plain.map(Math.abs));
    const apart = Math.max(...plain.map((value, i) => Math.abs(value - (theirs[i] as number)))) / largest;
    good &&= apart < LIMIT;
    const share = `${(100 * equalPredictions(held, plain)).toFixed(1)} %`;
    console.log(`| ${name} | ${apart.toExponential(1)} | ${(100 * distance(held, plain)).toFixed(2)} % | ${share} |`);
  }
  await file.close();
  return good;
}

/** ‖a − b‖/‖b‖. */
function distance(a: Logits, b: Logits): number {
  return Math.hypot(...a.map((value, i) => value - (b[i] as number))) / Math.hypot(...b);
}

/** Share of rows with the same largest logit. */
function equalPredictions(a: Logits, b: Logits): number {
  const classes = task.labels.length;
  const largest = (all: Logits, row: number): number => {
    const own = all.subarray(row * classes, (row + 1) * classes);
    return own.indexOf(Math.max(...own));
  };
  const count = a.length / classes;
  return Array.from({ length: count }, (_, i) => largest(a, i) === largest(b, i)).filter(Boolean).length / count;
}
