import { modelPath } from "@peftjs/base-mini";
import { fineTune, openTextModel, pluginsOf, readMethodSettings, registeredMethods, rowOf } from "@peftjs/bench";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";

/**
 * Dev scores over learning rates: a check of the numbers in packages/bench/experiments/methods.yaml.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/learningRates.ts ROW TASK,… RATE,… [ROWS] [EPOCHS] [BATCH]
 */
const [name = "", tasks = "", rates = "", rows = "2400", epochs = "2", batch = "16"] = process.argv.slice(2);
const row = rowOf(name, readMethodSettings());
const method = registeredMethods().get(row.method);
const plugins = pluginsOf(row.plugins);
const engine = await createEngine({ kind: "onnx" });
for (const task of tasks.split(",").map(loadTask)) {
  const metric = task.metrics[0]!;
  for (const learningRate of rates.split(",").map(Number)) {
    const text = await openTextModel({ folder: modelPath, scheme: task, maxLength: 64, seed: 0, newHead: true });
    const scores: string[] = [];
    await fineTune({
      ...{ text, engine, method, methodConfig: row.config, plugins },
      ...{ train: task.train.slice(0, Number(rows)), dev: task.dev, batchSize: Number(batch), seed: 0 },
      training: { epochs: Number(epochs), learningRate, warmupRatio: 0.1, metricForBest: metric },
      loggers: [{ evaluate: ({ metrics }) => scores.push((100 * metrics[metric]!).toFixed(1)) }],
    });
    console.log(`${name} ${task.name} lr ${learningRate}: dev ${metric} by epoch ${scores.join(" ")}`);
  }
}
