import { join } from "node:path";
import { peft } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { full } from "@peftjs/method-classic";
import type { Logger, TrainingPlan } from "@peftjs/train";
import { Trainer } from "@peftjs/train";
import type { Command } from "commander";
import { warmBase } from "../pretraining/baseModel.ts";
import { MaskedWindows } from "../pretraining/windows.ts";
import { ARTIFACTS_FOLDER } from "../folders.ts";
import { VOCABULARY_SIZE } from "./vocabulary.ts";
import { readTokens } from "./warmStart.ts";

interface Flags {
  readonly hidden: string;
  readonly layers: string;
  readonly heads: string;
  readonly tokens: string;
  readonly pairsFrom: string;
  readonly longFrom: string;
  readonly batchTokens: string;
  readonly learningRate: string;
  readonly maskRate: string;
  readonly evalEvery: string;
  readonly threads: string;
  readonly seed: string;
  readonly out: string;
}

export const PAIRS_FROM = 6500;
const SHORT = 64;
const LONG = 128;

export function registerTrain(program: Command): void {
  program
    .command("train")
    .description(
      "pretrain the base model by masked-language modelling and on pairs of segments; a run that was stopped goes on",
    )
    .option("--hidden <n>", "width", "192")
    .option("--layers <n>", "blocks", "4")
    .option("--heads <n>", "heads", "4")
    .option("--tokens <n>", "tokens to train on", "24e6")
    .option(
      "--pairs-from <step>",
      "step after which windows have two segments, whose relation is to be told as well",
      String(PAIRS_FROM),
    )
    .option("--long-from <step>", `step after which windows have ${LONG} tokens instead of ${SHORT}`, "10000")
    .option("--batch-tokens <n>", "tokens per step", "2048")
    .option("--learning-rate <x>", "peak", "1.5e-3")
    .option("--mask-rate <p>", "share of tokens to predict", "0.2")
    .option("--eval-every <n>", "steps between evaluations", "1000")
    .option("--threads <n>", "threads of the engine", "2")
    .option("--seed <n>", "seed", "1")
    .option("--out <name>", "run folder under artifacts/", "run")
    .action(train);
}

async function train(flags: Flags): Promise<void> {
  const [seed, batchTokens] = [Number(flags.seed), Number(flags.batchTokens)];
  const shape = {
    hidden: Number(flags.hidden),
    layers: Number(flags.layers),
    heads: Number(flags.heads),
    positions: LONG,
    vocabularySize: VOCABULARY_SIZE,
    seed,
  };
  const model = await peft(warmBase(shape)).use(full).apply();
  const steps = Math.round(Number(flags.tokens) / batchTokens);
  const windows = (length: number, split: "train" | "heldout", pairs: boolean): MaskedWindows =>
    new MaskedWindows({
      tokens: readTokens(split),
      vocabularySize: VOCABULARY_SIZE,
      length,
      batchSize: batchTokens / length,
      maskRate: Number(flags.maskRate),
      seed,
      pairs,
    });
  const heldout = windows(SHORT, "heldout", false);
  const trainer = new Trainer({
    model,
    engine: await createEngine({ kind: "onnx", threads: Number(flags.threads) }),
    train: inStages([
      { from: 0, plan: windows(SHORT, "train", false) },
      { from: Number(flags.pairsFrom), plan: windows(SHORT, "train", true) },
      { from: Number(flags.longFrom), plan: windows(LONG, "train", true) },
    ]),
    evaluation: { batches: heldout.batchesPerEpoch, batchAt: (index) => ({ batch: heldout.batchAt(index), rows: [] }) },
    config: {
      maxSteps: steps,
      learningRate: Number(flags.learningRate),
      beta2: 0.98,
      schedule: "cosine",
      warmupRatio: 0.03,
      evalEvery: Number(flags.evalEvery),
      saveEvery: Number(flags.evalEvery),
      metricForBest: "maskedAccuracy",
      loadBest: false,
      seed,
      outputDir: join(ARTIFACTS_FOLDER, flags.out),
      resume: true,
    },
    loggers: [progress(batchTokens)],
  });
  await trainer.train();
  await trainer.dispose();
}

/** A line every fifty steps, and one per evaluation. */
function progress(batchTokens: number): Logger {
  return {
    step: ({ step, totalSteps, loss, learningRate, milliseconds }) => {
      if (step % 50 !== 0) return;
      const speed = Math.round((batchTokens / milliseconds) * 1000);
      console.log(
        `step ${step}/${totalSteps} loss ${loss.toFixed(3)} lr ${learningRate.toExponential(2)} ${speed} tokens/s`,
      );
    },
    evaluate: ({ step, metrics: { loss = Number.NaN, maskedAccuracy = Number.NaN } }) =>
      console.log(
        `step ${step} tokens ${step * batchTokens} held-out loss ${loss.toFixed(3)} masked accuracy ${maskedAccuracy.toFixed(4)}`,
      ),
  };
}

interface Stage {
  /** Step with which it begins. */
  readonly from: number;
  readonly plan: TrainingPlan;
}

/**
 * Plain windows first; then pairs, which teach the first token to sum up what it sees; long windows at the end, as they cost more
 * per token and are needed for the far positions alone. A stage goes on where its plan would be had it begun with the run.
 */
function inStages(stages: readonly [Stage, ...Stage[]]): TrainingPlan {
  const at = (index: number): TrainingPlan => (stages.findLast(({ from }) => index >= from) ?? stages[0]).plan;
  return { batchesPerEpoch: stages[0].plan.batchesPerEpoch, batchAt: (index) => at(index).batchAt(index) };
}
