import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  createGenerator,
  float32,
  int32,
  loadAdapter,
  MethodRegistry,
  openSafetensors,
  peft,
  PeftModel,
  saveAdapter,
  widen,
  writeSafetensors,
} from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { ia3 } from "@peftjs/method-ia3";
import { prefixTuning, promptTuning, pTuning } from "@peftjs/method-classic";
import { adalora, dora, lora } from "@peftjs/method-lora-family";
import { rocoft } from "@peftjs/method-rocoft";
import { sift } from "@peftjs/method-sift";
import { fromConfig, fromPretrained, savePretrained } from "@peftjs/models";
import { Trainer } from "@peftjs/train";
import { cases, families } from "./cases.ts";
import type { ExchangeCase } from "./cases.ts";

/**
 * Exchanges adapters of every method with the Python library, in both directions, and prints a table of the largest relative
 * differences of the logits.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/adapters.ts FOLDER PYTHON [CASE …]
 *
 * PYTHON: an interpreter with torch, transformers and peft. Per case FOLDER/<family>-<case>/ gets base/, adapter/ (trained and
 * saved here) and expected.safetensors; tools/reference/adapters.py loads the adapter, compares, changes all trained values,
 * and saves the result to python/ with expected_python.safetensors, which is then loaded here.
 */
const [folder, python, ...chosen] = process.argv.slice(2);
if (folder === undefined || python === undefined) throw new Error("Usage: adapters.ts FOLDER PYTHON [CASE …]");

const LIMIT = 1e-5;
const STEPS = 6;
const engine = await createEngine({ kind: "onnx", threads: 1 });
const generator = createGenerator(7);
/** Read any adapter that the Python library writes of these types. */
const readers = new MethodRegistry().use(lora).use(dora).use(adalora).use(ia3).use(rocoft).use(sift);
readers.use(promptTuning).use(prefixTuning).use(pTuning);

interface PythonReport {
  readonly versions: string;
  /** By case: relative differences and warnings. */
  readonly cases: Readonly<
    Record<
      string,
      {
        readonly adapter: number;
        /** Null where the method does not merge. */
        readonly merged: number | null;
        readonly moved: number;
        readonly warnings: readonly string[];
      }
    >
  >;
}

const names = Object.keys(families).flatMap((family) =>
  Object.keys(cases)
    .filter((name) => chosen.length === 0 || chosen.includes(name))
    .map((name) => ({ family, name, dir: join(folder, `${family}-${name}`) })),
);
for (const { family, name, dir } of names) await writeCase(dir, family, cases[name] as ExchangeCase);
const script = fileURLToPath(new URL("../adapters.py", import.meta.url));
const { status } = spawnSync(python, [script, folder, ...names.map(({ dir }) => dir)], { stdio: "inherit" });
if (status !== 0) throw new Error(`${python} ended with ${String(status)}.`);
const report = JSON.parse(readFileSync(join(folder, "python.json"), "utf8")) as PythonReport;

let failures = 0;
const shown = (value: number | null): string => {
  if (value === null) return "–";
  return value < LIMIT ? value.toExponential(1) : `**${value.toExponential(1)}**`;
};
console.log(`\n${report.versions}; limit ${LIMIT}\n`);
console.log(
  "| case | here → Python | merged there | Python → here | merged here | the adapter changes the logits by |",
);
console.log("| --- | --- | --- | --- | --- | --- |");
for (const { family, name, dir } of names) {
  const there = report.cases[`${family}-${name}`];
  if (there === undefined) throw new Error(`No report of ${dir}.`);
  const here = await readBack(dir, cases[name] as ExchangeCase);
  const figures = [there.adapter, there.merged, here.adapter, here.merged];
  const good =
    figures.every((value) => value === null || value < LIMIT) && there.moved > 1e-3 && there.warnings.length === 0;
  if (!good) failures++;
  const cells = [`${family} ${name}`, ...figures.map(shown), there.moved.toExponential(1)];
  console.log(`| ${cells.join(" | ")} |${there.warnings.map((warning) => ` warning: ${warning}`).join("")}`);
}
console.log(failures === 0 ? "\nAll equal." : `\n${failures} cases differ.`);
process.exitCode = failures === 0 ? 0 : 1;

/** Trains an adapter for a few steps, and writes it, its base model and its logits. */
async function writeCase(dir: string, family: string, { method, config, ...options }: ExchangeCase): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const pad = families[family]?.["pad_token_id"] as number;
  const name = join(dir, "base");
  const base = fromConfig(families[family] as object as Record<string, unknown>, {
    labels: ["a", "b", "c"],
    seed: 1,
    name,
  });
  for (const [key, tensor] of base.parameters) base.parameters.set(key, moved(widen(tensor)));
  await savePretrained(base, name);
  const batches = Array.from({ length: STEPS }, () => randomBatch(pad));
  const model = await peft(base).use(method, config, { seed: 2 }).apply({ batches, runner: engine });
  const trainable = Object.entries(model.trainable());
  model.setTrainable(Object.fromEntries(trainable.map(([key, tensor]) => [key, moved(tensor)])));
  await train(model, batches);
  await saveAdapter(model, { dir: join(dir, "adapter"), ...options });
  writeFileSync(join(dir, "case.json"), JSON.stringify(options));
  const batch = batches[0] as Named<HostTensor>;
  const logits = await run(model, batch);
  const logits_base = await model.disable(() => run(model, batch));
  await writeTensors(join(dir, "expected.safetensors"), { ...batch, logits, logits_base });
}

/** Loads what Python saved, and compares with the logits it had. */
async function readBack(
  dir: string,
  { method, as }: ExchangeCase,
): Promise<{ readonly adapter: number; readonly merged: number | null }> {
  const file = await openSafetensors(join(dir, "expected_python.safetensors"));
  const read = async (name: string): Promise<HostTensor> => file.tensor(name);
  const [ids, mask, expected] = await Promise.all(["input_ids", "attention_mask", "logits"].map(read));
  await file.close();
  const batch = { input_ids: asInt(ids as HostTensor), attention_mask: asInt(mask as HostTensor) };
  const model = new PeftModel(await fromPretrained(join(dir, "base")));
  const reader = as === undefined ? {} : { as: method.name };
  const report = await loadAdapter(model, { dir: join(dir, "python"), methods: readers, ...reader });
  if (report.missing.length + report.unexpected.length > 0) throw new Error(`${dir}: ${JSON.stringify(report)}`);
  const adapter = difference(await run(model, batch), expected as HostTensor);
  if (!method.capabilities.merge) return { adapter, merged: null };
  const merged = difference(
    await run(new PeftModel(model.mergeAndUnload({ safe: true })), batch),
    expected as HostTensor,
  );
  return { adapter, merged };
}

async function train(model: PeftModel, batches: readonly Named<HostTensor>[]): Promise<void> {
  const trainer = new Trainer({
    model,
    engine,
    train: { batchesPerEpoch: STEPS, batchAt: (index) => batches[index % STEPS] as Named<HostTensor> },
    config: { epochs: 1, learningRate: 1e-2, evalEvery: "never" },
  });
  await trainer.train();
  await trainer.dispose();
}

function moved(tensor: HostTensor): HostTensor {
  const noise = generator.normal(tensor.data.length, 0, 0.1);
  return float32(
    Float32Array.from(tensor.data, (value, i) => value + (noise[i] as number)),
    tensor.shape,
  );
}

function randomBatch(pad: number): Record<string, HostTensor> {
  const lengths = [9, 12, 5, 7];
  const ids = lengths.flatMap((length) =>
    Array.from({ length: 12 }, (_, i) => (i < length ? 3 + (generator.next32() % 77) : pad)),
  );
  const mask = lengths.flatMap((length) => Array.from({ length: 12 }, (_, i) => (i < length ? 1 : 0)));
  const labels = lengths.map(() => generator.next32() % 3);
  return { input_ids: int32(ids, [4, 12]), attention_mask: int32(mask, [4, 12]), labels: int32(labels, [4]) };
}

async function run(model: PeftModel, batch: Named<HostTensor>): Promise<HostTensor> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch: inputs = {} }) => ({
    results: { logits: model.forward({ frozen, trainable }, inputs, { training: false })["logits"]! },
  }));
  const { results } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
  await program.dispose();
  return results!["logits"]!;
}

/** Largest difference in units of the largest expected magnitude. */
function difference(actual: HostTensor, expected: HostTensor): number {
  const scale = Math.max(...Array.from(expected.data, Math.abs));
  const differences = Array.from(expected.data, (value, i) => Math.abs(value - (actual.data[i] as number)));
  return Math.max(...differences) / scale;
}

/** The file holds float32 alone; ids and masks are small numbers. */
async function writeTensors(path: string, tensors: Named<HostTensor>): Promise<void> {
  const asFloat = ({ data, shape }: HostTensor): HostTensor => float32(Float32Array.from(data), shape);
  await writeSafetensors(path, new Map(Object.entries(tensors).map(([key, tensor]) => [key, asFloat(tensor)])));
}

function asInt({ data, shape }: HostTensor): HostTensor {
  return int32(Int32Array.from(data), shape);
}
