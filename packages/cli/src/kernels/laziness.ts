import { trainingPlan } from "@peftjs/bench";
import { startLaziness } from "@peftjs/method-rocoft/analysis";
import type { LazinessFigure } from "@peftjs/method-rocoft/analysis";
import { Trainer } from "@peftjs/train";
import type { ChosenMethod } from "./methods.ts";
import { attach, kernelOptions } from "./run.ts";
import type { Draw, KernelRun } from "./run.ts";

const BATCH_SIZE = 32;
const PHASES = 4;

interface FollowOptions {
  readonly method: ChosenMethod;
  readonly draw: Draw;
  readonly steps: number;
}

/**
 * Trains a method on a draw's examples at a constant rate in four phases, each of which starts the optimizer anew, and measures after
 * each how far the kernel has moved.
 */
export async function followKernel(run: KernelRun, { method, draw, steps }: FollowOptions): Promise<LazinessFigure[]> {
  const { text, engine, flags } = run;
  const model = await attach(run, method, draw);
  const laziness = await startLaziness(model, { ...kernelOptions(run), examples: draw.train.examples });
  const figures: LazinessFigure[] = [];
  for (let done = 0; done < steps;) {
    const next = Math.min(steps, done + Math.ceil(steps / PHASES));
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
