import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelPath } from "@peftjs/base-mini";
import { formatTrainableReport, peft, PeftModel, saveAdapter } from "@peftjs/core";
import { createBatchPlan, createEvaluationBatches, encodeRows, readDataset } from "@peftjs/data";
import type { Encode } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";
import { lora } from "@peftjs/method-lora-family";
import { fromPretrained, loadTokenizer, savePretrained, saveTokenizer } from "@peftjs/models";
import { consoleLogger, evaluate, Trainer } from "@peftjs/train";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.argv[2] ?? join(here, "out");

// The rows. The labels of the training file are the only ones that the other file may have.
const { rows, scheme } = await readDataset(join(here, "data/train.jsonl"));
if (scheme === undefined) throw new Error("The training rows have no labels.");
const dev = await readDataset(join(here, "data/dev.jsonl"), { scheme });

// The model: any Hugging Face folder of a supported architecture. It has no head for these labels yet; one is drawn.
const base = await fromPretrained(modelPath, { labels: scheme.labels, seed: 1 });
const tokenizer = await loadTokenizer(modelPath);

// Text to ids, ids to batches.
const encode: Encode = (text, pair) => {
  const { ids, typeIds } = tokenizer.encode(text, pair);
  return { inputIds: ids, tokenTypeIds: typeIds };
};
const batches = { batchSize: 8, padTokenId: tokenizer.padTokenId };
const train = createBatchPlan(encodeRows(rows, { encode, scheme }), { ...batches, seed: 1 });
const evaluation = createEvaluationBatches(encodeRows(dev.rows, { encode, scheme }), batches);

// The adapter: rank 8 beside every linear layer of the encoder. The base model is only read.
const model = await peft(base).use(lora, { rank: 8, alpha: 16, targetModules: "all-linear" }).apply();
console.log(formatTrainableReport(model.trainableReport()));

// Training: the step is compiled once per batch length, then runs as one program.
const engine = await createEngine();
const trainer = new Trainer({
  model,
  engine,
  train,
  evaluation,
  config: { epochs: 6, learningRate: 2e-3, metricForBest: "accuracy" },
  loggers: [consoleLogger()],
});
const { best } = await trainer.train();
await trainer.dispose();
console.log("best accuracy on the dev rows:", best?.metrics["accuracy"]);

// The adapter, a few hundred kilobytes, in the Python library's format.
await saveAdapter(model, { dir: join(out, "adapter") });

// A model with the adapter inside, for programs that know nothing of adapters.
const merged = model.mergeAndUnload();
await savePretrained(merged, join(out, "merged"));
await saveTokenizer(tokenizer, join(out, "merged"));

// Both say the same.
const [adapted, plain] = [
  await evaluate(model, engine, evaluation),
  await evaluate(new PeftModel(merged), engine, evaluation),
];
const difference = Math.max(
  ...adapted.logits.flatMap((row, i) => [...row].map((value, j) => Math.abs(value - (plain.logits[i]?.[j] ?? NaN)))),
);
console.log(`largest difference between adapter and merged model: ${difference.toExponential(1)}`);
if (!(difference < 1e-3)) throw new Error("The merged model differs from the adapter.");
