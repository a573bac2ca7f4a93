import { modelPath } from "@peftjs/base-mini";
import { isInModules, PeftError, sizeOf } from "@peftjs/core";
import type { BaseModel, Plugins, TrainableParameter } from "@peftjs/core";
import { loadTask } from "@peftjs/data";
import { createEngine } from "@peftjs/engine";
import { evaluate } from "@peftjs/train";
import type { StepEvent } from "@peftjs/train";
import { registeredMethods } from "./methods.ts";
import { typeOf } from "./frozen.ts";
import { pluginsOf } from "./plugins.ts";
import type { RunResult, RunSpec } from "./results.ts";
import { mean, median } from "./statistics.ts";
import { fineTune } from "./session/fineTune.ts";
import { evaluationPlan, openTextModel } from "./session/textModel.ts";

/** Steps left out of the step time: programs are compiled and caches filled in them. */
const WARM_UP_STEPS = 5;
const LOSS_POINTS = 60;

/**
 * One run of the comparison in this process: fine-tunes on the task's training rows, keeps the epoch that is best on the dev
 * rows, and scores that one on the test rows.
 */
export async function runOne(spec: RunSpec): Promise<RunResult> {
  const started = performance.now();
  const task = loadTask(spec.task);
  const metric = task.metrics[0] ?? "loss";
  const method = registeredMethods().get(spec.variantOf ?? spec.method);
  const engine = await createEngine({ kind: spec.engine, ...(spec.threads === null ? {} : { threads: spec.threads }) });
  const text = await openTextModel({
    folder: spec.model ?? modelPath,
    scheme: task,
    maxLength: spec.maxLength,
    seed: spec.seed,
    newHead: true,
    frozen: spec.frozen,
  });
  const steps: StepEvent[] = [];
  const { model } = await fineTune({
    text,
    engine,
    method,
    methodConfig: withPresentModules(spec.methodConfig, text.base),
    plugins: pluginsOf(spec.plugins ?? {}),
    train: task.train.slice(0, spec.trainRows),
    dev: task.dev.slice(0, spec.devRows),
    batchSize: spec.batchSize,
    seed: spec.seed,
    training: {
      epochs: spec.epochs,
      learningRate: spec.learningRate,
      weightDecay: spec.weightDecay,
      warmupRatio: spec.warmupFraction,
      metricForBest: metric,
    },
    loggers: [{ step: (event) => steps.push(event) }],
  });
  const test = await evaluate(model, engine, evaluationPlan(text, task.test.slice(0, spec.testRows), spec.batchSize));
  const score = finiteScore(test.metrics, metric);
  const { trainable, total } = model.trainableReport();
  return {
    method: spec.method,
    task: spec.task,
    seed: spec.seed,
    metric,
    score,
    trainableParameters: trainable,
    totalParameters: total,
    stepMilliseconds: median(steps.slice(Math.min(WARM_UP_STEPS, steps.length - 1)).map((step) => step.milliseconds)),
    // Node gives kibibytes on every platform.
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    ...steeringFigures(steps, model.plugins),
    ...(spec.frozen === undefined ? {} : { frozen: typeOf(spec.frozen) }),
    losses: lossCurve(steps),
    seconds: (performance.now() - started) / 1000,
    status: "ok",
  };
}

function finiteScore(metrics: Readonly<Record<string, number>>, name: string): number {
  const score = metrics[name];
  if (score !== undefined && Number.isFinite(score)) return score;
  throw new PeftError(
    "SCORE_INVALID",
    `The ${name} on the test rows is ${String(score)}. Lower the learning rate in experiments/methods.yaml.`,
  );
}

/** Means of stretches of the run, in five digits: enough to see and to compare curves by. */
function lossCurve(steps: readonly StepEvent[]): number[] {
  const points = Math.min(steps.length, LOSS_POINTS);
  const start = (point: number): number => Math.floor((point * steps.length) / points);
  return Array.from({ length: points }, (_, point) =>
    Number(mean(steps.slice(start(point), start(point + 1)).map(({ loss }) => loss)).toPrecision(5)),
  );
}

/** Nothing where no plug-in chooses what learns. */
function steeringFigures(
  steps: readonly StepEvent[],
  plugins: Plugins,
): Pick<RunResult, "learningShare" | "pluginMilliseconds"> {
  const own = plugins.parameters().filter(({ block }) => block !== null);
  const chosen = steps.flatMap(({ blocks }) =>
    blocks === undefined ? [] : [own.filter(({ block }) => blocks.includes(block as number))],
  );
  if (chosen.length === 0) return {};
  return {
    learningShare: mean(chosen.map(elements)) / elements(own),
    pluginMilliseconds: mean(steps.map(({ pluginMilliseconds = 0 }) => pluginMilliseconds)),
  };
}

function elements(parameters: readonly TrainableParameter[]): number {
  return parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/**
 * The shared settings name the modules of a head in every family (BERT's pooler, say); those that this model lacks are left out.
 */
export function withPresentModules(
  config: Readonly<Record<string, unknown>>,
  { parameters }: Pick<BaseModel, "parameters">,
): Record<string, unknown> {
  const wanted = config["modulesToSave"];
  if (!Array.isArray(wanted)) return { ...config };
  const names = [...parameters.keys()];
  const present = wanted.filter(
    (module) => typeof module === "string" && names.some((name) => isInModules(name, [module])),
  );
  return { ...config, modulesToSave: present };
}
