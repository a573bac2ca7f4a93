import { modelPath } from "@peftjs/base-mini";
import { fineTune, openTextModel, readMethodSettings, registeredMethods } from "@peftjs/bench";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";

/**
 * Dev scores over learning rates: where the numbers of packages/bench/experiments/methods.yaml come from.
 *
 *   npx tsx --conditions=@peftjs/source tools/reference/src/learningRates.ts METHOD TASK,… RATE,… [ROWS] [EPOCHS]
 */
const [name = "", tasks = "", rates = "", rows = "2400", epochs = "2"] = process.argv.slice(2);
const method = registeredMethods().get(name);
const engine = await createEngine({ kind: "onnx" });
for (const task of tasks.split(",").map(loadTask)) {
  const metric = task.metrics[0]!;
  for (const learningRate of rates.split(",").map(Number)) {
    const text = await openTextModel({ folder: modelPath, scheme: task, maxLength: 64, seed: 0, newHead: true });
    const { result } = await fineTune({
      ...{ text, engine, method, methodConfig: readMethodSettings()[name]?.config ?? {} },
      ...{ train: task.train.slice(0, Number(rows)), dev: task.dev, batchSize: 16, seed: 0 },
      training: { epochs: Number(epochs), learningRate, warmupRatio: 0.1, metricForBest: metric },
    });
    console.log(`${name} ${task.name} lr ${learningRate}: dev ${metric} ${(100 * result.best!.value).toFixed(1)}`);
  }
}
