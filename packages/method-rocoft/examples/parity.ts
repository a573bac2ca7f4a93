/**
 * One row against one column: a wide perceptron learns the parity of three bits. One row of the last layer reads all hidden neurons
 * out, one column reads a single one.
 *
 * npx tsx --conditions=@peftjs/source packages/method-rocoft/examples/parity.ts
 */
import { fileURLToPath } from "node:url";
import { peft } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { rocoft } from "@peftjs/method-rocoft";
import type { RocoftConfig } from "@peftjs/method-rocoft";
import { evaluate, Trainer } from "@peftjs/train";
import { parityModel, parityPlan, parityRows } from "./parityModel.ts";

export interface ParityOptions {
  readonly engine: Engine;
  readonly mode: RocoftConfig["mode"];
  readonly bias?: RocoftConfig["bias"];
  readonly seed: number;
  /** Default: 10,002 steps of 500 hidden neurons. */
  readonly steps?: number;
  readonly width?: number;
}

export interface ParityResult {
  /** Over all eight inputs. */
  readonly loss: number;
  readonly accuracy: number;
}

/** Trains one row or column of each layer by plain gradient descent, and scores all eight inputs. */
export async function learnParity(options: ParityOptions): Promise<ParityResult> {
  const { engine, mode, bias = "targets", seed, steps = 10_002, width = 500 } = options;
  const config = { mode, bias, rank: 1, targetModules: ["hidden", "output"] };
  const model = await peft(parityModel({ width, seed })).use(rocoft, config, { seed }).apply();
  const trainer = new Trainer({
    model,
    engine,
    train: parityPlan({ batchSize: 32, seed }),
    config: {
      ...{ optimizer: "sgd", learningRate: 1e-2, schedule: "constant", warmupRatio: 0, weightDecay: 0 },
      ...{ maxGradNorm: null, maxSteps: steps, seed },
    },
  });
  try {
    await trainer.train();
  } finally {
    await trainer.dispose();
  }
  const { metrics } = await evaluate(model, engine, {
    batches: 1,
    batchAt: () => ({ batch: parityRows(), rows: [0, 1, 2, 3, 4, 5, 6, 7] }),
  });
  return { loss: metrics["loss"] ?? NaN, accuracy: metrics["accuracy"] ?? NaN };
}

async function main(): Promise<void> {
  const engine = await createEngine({ kind: "onnx", threads: 1 });
  const runs = [
    { name: "row", mode: "row" },
    { name: "row, no biases", mode: "row", bias: "none" },
    { name: "column", mode: "column" },
  ] as const;
  for (const { name, ...run } of runs) {
    for (const seed of [1, 2, 3]) {
      const began = performance.now();
      const { loss, accuracy } = await learnParity({ engine, seed, ...run });
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      console.log(`${name}, seed ${seed}: loss ${loss.toFixed(4)}, accuracy ${accuracy.toFixed(3)} (${seconds} s)`);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
