import { trainingPlan } from "@peftjs/bench";
import { startLaziness } from "@peftjs/method-rocoft/analysis";
import type { LazinessFigure } from "@peftjs/method-rocoft/analysis";
import { Trainer } from "@peftjs/train";
import { attach, kernelOptions } from "./measure.ts";
import type { Draw, KernelRun } from "./measure.ts";
import type { ChosenMethod } from "./methods.ts";

const BATCH_SIZE = 32;
const MEASUREMENTS = 4;

/** Trains a method on a draw's examples at a constant rate, and measures how far its kernel moves: after each quarter of the steps. */
export async function followKernel(run: KernelRun, method: ChosenMethod, draw: Draw): Promise<LazinessFigure[]> {
  const { text, engine, flags } = run;
  const steps = flags.laziness ?? 0;
  const model = await attach(run, method, draw);
  const laziness = await startLaziness(model, { ...kernelOptions(run), examples: draw.train.examples });
  const figures: LazinessFigure[] = [];
  for (let done = 0; done < steps;) {
    const next = Math.min(steps, done + Math.ceil(steps / MEASUREMENTS));
    const trainer = new Trainer({
      ...{
        model,
        engine,
        train: trainingPlan(text, draw.trainRows, { batchSize: BATCH_SIZE, seed: draw.seed + done }),
      },
      config: {
        ...{ maxSteps: next - done, learningRate: flags.learningRate, seed: draw.seed },
        ...{ schedule: "constant", warmupRatio: 0, weightDecay: 0 },
      },
    });
    try {
      await trainer.train();
    } finally {
      await trainer.dispose();
    }
    figures.push({ step: next, change: (await laziness.measure()).change });
    done = next;
  }
  return figures;
}
