import { join } from "node:path";
import { cloneTensor, PeftError } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { CheckpointFolder } from "./checkpoint/checkpoint.ts";
import type { Best, ModelTensors, RunState } from "./checkpoint/checkpoint.ts";
import { parseTrainingConfig } from "./config.ts";
import type { TrainingConfig, TrainingConfigInput } from "./config.ts";
import { createEvaluator } from "./evaluate.ts";
import type { Evaluation, Evaluator } from "./evaluate.ts";
import { EventBus } from "./events.ts";
import type { EndReason, EventName, Listener, Logger } from "./events.ts";
import { jsonlLogger } from "./log/jsonl.ts";
import type { EvaluationPlan, TrainableModel, TrainingPlan } from "./model.ts";
import { optimizerOf } from "./optim/fromConfig.ts";
import type { ParameterGroupRule } from "./optim/fromConfig.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import { lengthOf } from "./runLength.ts";
import type { RunLength } from "./runLength.ts";
import { requireSameRun } from "./resume.ts";
import { schedule } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";
import { Stepper } from "./step/stepper.ts";
import type { StepMetrics } from "./step/stepper.ts";

export interface TrainerOptions {
  readonly model: TrainableModel;
  readonly engine: Engine;
  readonly train: TrainingPlan;
  /** Rows to evaluate on; without them nothing is evaluated. */
  readonly evaluation?: EvaluationPlan | undefined;
  readonly config?: TrainingConfigInput;
  /** Instead of the one that the config names. It decides about groups itself. */
  readonly optimizer?: Optimizer;
  /** Goes before what the model's methods say about their parameters. */
  readonly paramGroups?: ParameterGroupRule;
  readonly loggers?: readonly Logger[];
  /** Metrics of an evaluation beyond the built-in ones. */
  readonly metrics?: (evaluation: Evaluation) => Readonly<Record<string, number>>;
  /** Ends the run after the current step, with a checkpoint. */
  readonly signal?: AbortSignal;
}

export interface TrainingResult {
  /** Optimizer steps done, those before a resume included. */
  readonly steps: number;
  readonly reason: EndReason;
  /** Mean loss of the last step's batches. */
  readonly loss: number | null;
  /** Null without evaluation. */
  readonly best: Best | null;
  /** Metrics of the last evaluation. */
  readonly metrics: Readonly<Record<string, number>> | null;
}

/** Owns one run: compiled programs, buffers, checkpoints. Dispose of it when done; the model stays. */
export class Trainer {
  readonly config: TrainingConfig;
  readonly length: RunLength;
  readonly #options: TrainerOptions;
  readonly #events = new EventBus();
  readonly #optimizer: Optimizer;
  readonly #schedule: Schedule;
  readonly #stepper: Stepper;
  readonly #evaluator: Evaluator | null;
  readonly #folder: CheckpointFolder | null;
  #state: Omit<RunState, "fingerprint"> = {
    step: 0,
    loss: null,
    metrics: null,
    best: null,
    evaluationsWithoutImprovement: 0,
  };
  #bestTensors: ModelTensors | null = null;

  constructor(options: TrainerOptions) {
    this.#options = options;
    const config = (this.config = parseTrainingConfig(options.config ?? {}));
    this.length = lengthOf(config, options.train.batchesPerEpoch);
    this.#schedule = schedule(config.schedule, this.length);
    this.#optimizer = options.optimizer ?? optimizerOf(config, options);
    const { model, engine } = options;
    this.#stepper = new Stepper({
      model,
      engine,
      optimizer: this.#optimizer,
      maxGradNorm: config.maxGradNorm,
      seed: config.seed,
      recompute: config.recompute,
      totalSteps: this.length.totalSteps,
    });
    const evaluates = options.evaluation !== undefined && config.evalEvery !== "never";
    this.#evaluator = evaluates ? createEvaluator(model, engine) : null;
    this.#folder = config.outputDir === null ? null : new CheckpointFolder(config.outputDir);
    if (config.outputDir !== null) this.#events.add(jsonlLogger(join(config.outputDir, "log.jsonl")));
    for (const logger of options.loggers ?? []) this.#events.add(logger);
  }

  /** Adds a listener; returns a function that removes it. */
  on<Name extends EventName>(name: Name, listener: Listener<Name>): () => void {
    return this.#events.on(name, listener);
  }

  /** Runs to the end. The model then has the best evaluation's parameters (`loadBest`), else the last ones. */
  async train(): Promise<TrainingResult> {
    await this.#begin();
    const { totalSteps } = this.length;
    let reason: EndReason = "completed";
    while (this.#state.step < totalSteps) {
      if (this.#exhausted()) {
        reason = "earlyStop";
        break;
      }
      if (this.#options.signal?.aborted === true) {
        reason = "aborted";
        break;
      }
      await this.#advance();
    }
    if (reason === "aborted") await this.#save();
    else await this.#loadBest();
    const { step, loss, best, metrics } = this.#state;
    this.#events.emit("end", { step, reason });
    return { steps: step, reason, loss, best, metrics };
  }

  async dispose(): Promise<void> {
    await this.#stepper.dispose();
    await this.#evaluator?.dispose();
  }

  async #begin(): Promise<void> {
    const { resume, outputDir } = this.config;
    const newest = (await this.#folder?.newest()) ?? null;
    if (newest !== null && !resume) {
      throw new PeftError(
        "OUTPUT_NOT_EMPTY",
        `"${outputDir}" holds checkpoints of an earlier run (step ${newest.run.step}). Set resume: true to go on with it, or choose another outputDir.`,
      );
    }
    if (newest !== null) {
      const { fingerprint, ...state } = newest.run;
      requireSameRun(fingerprint, this.#fingerprint());
      this.#state = state;
      this.#stepper.restore(newest);
    }
    this.#events.emit("start", { resumedFrom: this.#state.step, totalSteps: this.length.totalSteps });
  }

  /** One optimizer step and what is due after it. */
  async #advance(): Promise<void> {
    const { accumulationSteps } = this.config;
    const step = this.#state.step + 1;
    const firstBatch = (step - 1) * accumulationSteps;
    const batches = Array.from({ length: accumulationSteps }, (_, i) => this.#options.train.batchAt(firstBatch + i));
    const learningRate = this.config.learningRate * this.#schedule(step - 1);
    const began = performance.now();
    const metrics = await this.#stepper.step({ batches, firstBatch, step, learningRate });
    const milliseconds = performance.now() - began;
    this.#state = { ...this.#state, step, loss: metrics.loss };
    const epoch = this.length.epochAt(step);
    const { totalSteps } = this.length;
    this.#events.emit("step", { step, totalSteps, epoch, ...metrics, learningRate, milliseconds });
    requireFinite(step, metrics);
    if (this.length.endsEpoch(step)) this.#events.emit("epoch", { step, epoch: Math.floor(epoch + 1e-9) });
    const improved = this.#due(this.config.evalEvery, step) && (await this.#evaluate());
    if (improved || this.#due(this.config.saveEvery, step)) await this.#save();
  }

  /** The last step is always due, unless "never". */
  #due(every: "epoch" | "never" | number, step: number): boolean {
    if (every === "never") return false;
    if (step === this.length.totalSteps) return true;
    return every === "epoch" ? this.length.endsEpoch(step) : step % every === 0;
  }

  /** Whether this evaluation is the best so far. */
  async #evaluate(): Promise<boolean> {
    const { evaluation, metrics: extra } = this.#options;
    if (this.#evaluator === null || evaluation === undefined) return false;
    const began = performance.now();
    const result = await this.#evaluator.evaluate(evaluation);
    const metrics = { ...result.metrics, ...extra?.(result) };
    const name = this.config.metricForBest;
    const value = metrics[name];
    if (value === undefined) {
      throw new PeftError(
        "UNKNOWN_METRIC",
        `metricForBest is "${name}", but the evaluation gives: ${Object.keys(metrics).join(", ") || "nothing (rows without labels)"}. Name one of these.`,
      );
    }
    const { step, best: before } = this.#state;
    const improved = before === null || (name === "loss" ? value < before.value : value > before.value);
    this.#state = {
      ...this.#state,
      metrics,
      best: improved ? { step, value, metrics } : before,
      evaluationsWithoutImprovement: improved ? 0 : this.#state.evaluationsWithoutImprovement + 1,
    };
    if (improved && this.#folder === null && this.config.loadBest) {
      const { trainable, state } = this.#tensors();
      this.#bestTensors = { trainable: cloneAll(trainable), state: cloneAll(state) };
    }
    this.#events.emit("evaluate", {
      step,
      epoch: this.length.epochAt(step),
      metrics,
      best: improved,
      milliseconds: performance.now() - began,
    });
    return improved;
  }

  async #save(): Promise<void> {
    if (this.#folder === null) return;
    const run: RunState = { ...this.#state, fingerprint: this.#fingerprint() };
    const path = await this.#folder.save({
      run,
      ...this.#tensors(),
      optimizer: this.#stepper.optimizerState,
    });
    await this.#folder.prune(this.config.keepCheckpoints, run.best?.step ?? null);
    this.#events.emit("save", { step: run.step, path });
  }

  /** What makes the model what it is now. */
  #tensors(): ModelTensors {
    const { model } = this.#options;
    return { trainable: model.trainable(), state: model.state?.() ?? {} };
  }

  async #loadBest(): Promise<void> {
    const { step, best } = this.#state;
    if (!this.config.loadBest || best === null || best.step === step) return;
    const tensors = this.#bestTensors ?? (await this.#folder?.readModel(best.step));
    if (tensors === undefined) return;
    this.#options.model.setTrainable(tensors.trainable);
    this.#options.model.setState?.(tensors.state);
  }

  #exhausted(): boolean {
    const { earlyStopPatience } = this.config;
    return earlyStopPatience !== null && this.#state.evaluationsWithoutImprovement >= earlyStopPatience;
  }

  #fingerprint(): Readonly<Record<string, unknown>> {
    const { totalSteps, warmupSteps } = this.length;
    const options = Object.fromEntries(DECISIVE.map((name) => [name, this.config[name]]));
    const { batchesPerEpoch } = this.#options.train;
    return { optimizer: this.#optimizer.name, totalSteps, warmupSteps, batchesPerEpoch, ...options };
  }
}

/** Options that decide a run's numbers, besides its length. */
const DECISIVE = [
  "accumulationSteps",
  "learningRate",
  "schedule",
  "weightDecay",
  "beta1",
  "beta2",
  "epsilon",
  "momentum",
  "maxGradNorm",
  "seed",
] as const satisfies readonly (keyof TrainingConfig)[];

function requireFinite(step: number, values: StepMetrics): void {
  for (const [name, value] of Object.entries(values)) {
    if (Number.isFinite(value)) continue;
    throw new PeftError(
      "LOSS_NOT_FINITE",
      `At step ${step} the ${name} is ${value}; a finite number is needed to go on. Lower learningRate, lengthen the warm-up, or set maxGradNorm.`,
    );
  }
}

function cloneAll(tensors: Named<HostTensor>): Named<HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, cloneTensor(tensor)]));
}
