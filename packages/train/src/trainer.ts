import { join } from "node:path";
import { cloneTensor, PeftError, writeFileAtomic } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { printWarning } from "@peftjs/core/internal";
import { CheckpointFolder } from "./checkpoint/checkpoint.ts";
import type { ModelTensors, RunState } from "./checkpoint/checkpoint.ts";
import { parseTrainingConfig } from "./config.ts";
import type { TrainingConfig } from "./config.ts";
import { createEvaluator } from "./evaluate.ts";
import type { Evaluator } from "./evaluate.ts";
import { EventBus } from "./events.ts";
import type { EndReason, EventName, Listener } from "./events.ts";
import { jsonlLogger, pluginEvents } from "./log/jsonl.ts";
import { optimizerOf } from "./optim/fromConfig.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import { PluginRuns } from "./plugins/pluginRuns.ts";
import { lengthOf } from "./runLength.ts";
import type { RunLength } from "./runLength.ts";
import { fingerprintOf, requireSameRun } from "./resume.ts";
import type { Fingerprint } from "./resume.ts";
import { schedule } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";
import { Stepper } from "./step/stepper.ts";
import type { StepMetrics } from "./step/firstHalf.ts";
import type { TrainerOptions, TrainingResult } from "./trainerOptions.ts";

/** Owns one run: compiled programs, buffers, checkpoints. Dispose of it when done; the model stays. */
export class Trainer {
  readonly config: TrainingConfig;
  readonly length: RunLength;
  readonly #options: TrainerOptions;
  readonly #events = new EventBus();
  readonly #optimizer: Optimizer;
  readonly #schedule: Schedule;
  /** What steers the run besides the options; null without plug-ins. */
  #plugins: PluginRuns | null = null;
  /** Made at the start: what plug-ins decide about is known then. */
  #stepper: Stepper | null = null;
  readonly #evaluator: Evaluator | null;
  readonly #folder: CheckpointFolder | null;
  #state: Omit<RunState, "fingerprint" | "updates" | "plugins"> = {
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
    const evaluates = options.evaluation !== undefined && config.evalEvery !== "never";
    this.#evaluator = evaluates ? createEvaluator(model, engine) : null;
    this.#folder = config.outputDir === null ? null : new CheckpointFolder(config.outputDir);
    if (config.outputDir !== null) this.#events.add(jsonlLogger(logOf(config.outputDir)));
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
    await this.#report();
    const { step, loss, best, metrics } = this.#state;
    this.#events.emit("end", { step, reason });
    return { steps: step, reason, loss, best, metrics };
  }

  async dispose(): Promise<void> {
    await this.#stepper?.dispose();
    await this.#evaluator?.dispose();
    await this.#plugins?.dispose();
  }

  async #begin(): Promise<void> {
    const { resume, outputDir } = this.config;
    this.#plugins ??= this.#pluginRuns();
    const newest = (await this.#folder?.newest()) ?? null;
    if (newest !== null && !resume) {
      throw new PeftError(
        "OUTPUT_NOT_EMPTY",
        `"${outputDir}" holds checkpoints of an earlier run (step ${newest.run.step}). Set resume: true to go on with it, or choose another outputDir.`,
      );
    }
    if (newest !== null) requireSameRun(newest.run.fingerprint, this.#fingerprint());
    const { step: resumedFrom = 0, plugins: state = {} } = newest?.run ?? {};
    const records = outputDir === null || newest === null ? [] : pluginEvents(logOf(outputDir), resumedFrom);
    this.#plugins?.start({ step: resumedFrom, state, records });
    const stepper = (this.#stepper ??= this.#newStepper());
    if (newest !== null) {
      const { fingerprint, updates, plugins, ...run } = newest.run;
      this.#state = run;
      stepper.restore(newest, updates);
    }
    this.#events.emit("start", { resumedFrom: this.#state.step, totalSteps: this.length.totalSteps });
    this.#plugins?.announce();
  }

  #newStepper(): Stepper {
    const { model, engine } = this.#options;
    const { maxGradNorm, seed, recompute } = this.config;
    return new Stepper({
      ...{ model, engine, optimizer: this.#optimizer, maxGradNorm, seed, recompute },
      totalSteps: this.length.totalSteps,
      choosesBlocks: this.#plugins?.choosesBlocks ?? false,
    });
  }

  #pluginRuns(): PluginRuns | null {
    const { model, engine, train, evaluation, onWarning = printWarning } = this.#options;
    const { plugins } = model;
    if (plugins === undefined || plugins.attached.length === 0) return null;
    // Its rows are not those of the steps they come before.
    const seed = this.config.seed + 1;
    return new PluginRuns({ plugins, model, engine, train, evaluation, seed, events: this.#events, warn: onWarning });
  }

  /** One optimizer step and what is due after it. */
  async #advance(): Promise<void> {
    const { accumulationSteps } = this.config;
    const step = this.#state.step + 1;
    const firstBatch = (step - 1) * accumulationSteps;
    const batches = Array.from({ length: accumulationSteps }, (_, i) => this.#options.train.batchAt(firstBatch + i));
    const learningRate = this.config.learningRate * this.#schedule(step - 1);
    const asked = performance.now();
    const blocks = await this.#plugins?.beforeStep(step);
    const began = performance.now();
    const stepper = this.#stepper as Stepper;
    const metrics = await stepper.step({ batches, firstBatch, step, learningRate, blocks });
    const milliseconds = performance.now() - began;
    const steered = this.#plugins === null ? {} : { pluginMilliseconds: began - asked };
    this.#state = { ...this.#state, step, loss: metrics.loss };
    const epoch = this.length.epochAt(step);
    const { totalSteps } = this.length;
    this.#events.emit("step", {
      step,
      totalSteps,
      epoch,
      ...metrics,
      learningRate,
      milliseconds,
      ...steered,
      ...(blocks && { blocks }),
    });
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
    const stepper = this.#stepper as Stepper;
    const steered = this.#plugins === null ? {} : { updates: stepper.updates, plugins: this.#plugins.state };
    const run: RunState = { ...this.#state, fingerprint: this.#fingerprint(), ...steered };
    const path = await this.#folder.save({
      run,
      ...this.#tensors(),
      optimizer: stepper.optimizerState,
    });
    await this.#folder.prune(this.config.keepCheckpoints, run.best?.step ?? null);
    this.#events.emit("save", { step: run.step, path });
  }

  /** Files of plug-ins about the run: `<outputDir>/plugins`. */
  async #report(): Promise<void> {
    const { outputDir } = this.config;
    if (outputDir === null || this.#plugins === null) return;
    for (const [name, text] of Object.entries(this.#plugins.report()))
      await writeFileAtomic(join(outputDir, "plugins", name), text);
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

  #fingerprint(): Fingerprint {
    const { batchesPerEpoch } = this.#options.train;
    const { config, length } = this;
    return fingerprintOf({ config, length, batchesPerEpoch, optimizer: this.#optimizer, plugins: this.#plugins });
  }
}

function logOf(outputDir: string): string {
  return join(outputDir, "log.jsonl");
}

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
