import { cloneTensor, float32, int32, PeftError, zeros } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { CompiledFunction, Engine } from "@peftjs/engine";
import type { TrainableModel } from "./model.ts";
import { accumulationStep, applyStep, trainingStep } from "./step.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import { batchWeight } from "./weights.ts";

export interface StepperOptions {
  readonly model: TrainableModel;
  readonly engine: Engine;
  readonly optimizer: Optimizer;
  readonly maxGradNorm: number | null;
  readonly seed: number;
}

export interface StepInput {
  /** Micro-batches of the step. */
  readonly batches: readonly Named<HostTensor>[];
  /** Number of the first of them in the run, from 0. */
  readonly firstBatch: number;
  /** Number of the optimizer step, from 1. */
  readonly step: number;
  readonly learningRate: number;
}

export interface StepMetrics {
  /** Weighted mean loss over all rows of the step, before the update. */
  readonly loss: number;
  /** Global gradient norm before clipping. */
  readonly gradNorm: number;
}

/** What one step reads and the next one writes. */
interface Buffers {
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
}

/**
 * Runs optimizer steps. Two sets of buffers take turns: a step reads one and writes the other, so that nothing of the
 * size of the parameters is allocated while training.
 */
export class Stepper {
  readonly #options: StepperOptions;
  readonly #metrics = { loss: float32([0], []), gradNorm: float32([0], []) };
  readonly #full: CompiledFunction;
  readonly #accumulate: CompiledFunction;
  readonly #apply: CompiledFunction;
  #current: Buffers;
  #spare: Buffers;
  #accumulated: [Named<HostTensor>, Named<HostTensor>] | null = null;

  constructor(options: StepperOptions) {
    this.#options = options;
    const { engine, model } = options;
    const trainable = model.trainable();
    if (Object.keys(trainable).length === 0) {
      throw new PeftError("NOTHING_TO_TRAIN", "The model has no trainable parameters. Attach an adapter, or unfreeze parameters, before training.");
    }
    this.#current = { trainable: cloneAll(trainable), optimizer: options.optimizer.init(trainable) };
    this.#spare = cloneBuffers(this.#current);
    this.#full = engine.compile(trainingStep(options), { constant: ["frozen"] });
    this.#accumulate = engine.compile(accumulationStep(model), { constant: ["frozen"] });
    this.#apply = engine.compile(applyStep(options));
  }

  get optimizerState(): Named<HostTensor> {
    return this.#current.optimizer;
  }

  /** Puts saved parameters and optimizer state in place of the current ones. */
  restore(trainable: Named<HostTensor>, optimizer: Named<HostTensor>): void {
    requireSame("parameters", this.#current.trainable, trainable);
    requireSame("optimizer state", this.#current.optimizer, optimizer);
    this.#current = { trainable: cloneAll(trainable), optimizer: cloneAll(optimizer) };
    this.#spare = cloneBuffers(this.#current);
    this.#options.model.setTrainable(this.#current.trainable);
  }

  async step(input: StepInput): Promise<StepMetrics> {
    const { model, optimizer } = this.#options;
    const { optimizer: state } = this.#current;
    const args = { trainable: model.trainable(), optimizer: state, scalars: optimizer.scalars(input.step, input.learningRate) };
    const metrics = input.batches.length === 1 ? await this.#single(input, args) : await this.#several(input, args);
    [this.#current, this.#spare] = [this.#spare, this.#current];
    model.setTrainable(this.#current.trainable);
    await model.afterStep?.(input.step);
    return metrics;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#full.dispose(), this.#accumulate.dispose(), this.#apply.dispose()]);
  }

  async #single(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const [batch = {}] = input.batches;
    const results = await this.#full.run(
      { ...args, frozen: this.#options.model.frozen(), batch, scalars: { ...args.scalars, key: this.#key(input.firstBatch) } },
      { ...this.#spare, metrics: this.#metrics },
    );
    this.#keepUntouched(args, results);
    return { loss: first(this.#metrics.loss), gradNorm: first(this.#metrics.gradNorm) };
  }

  async #several(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const weights = input.batches.map(batchWeight);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let [from, into] = (this.#accumulated ??= [zerosLike(args.trainable), zerosLike(args.trainable)]);
    for (const tensor of Object.values(from)) tensor.data.fill(0);
    let written: Named<HostTensor> = {};
    let loss = 0;
    for (const [i, batch] of input.batches.entries()) {
      const share = (weights[i] as number) / total;
      const scalars = { key: this.#key(input.firstBatch + i), share: float32([share], []) };
      const results = await this.#accumulate.run(
        { frozen: this.#options.model.frozen(), trainable: args.trainable, accumulated: from, batch, scalars },
        { accumulated: into, metrics: { loss: this.#metrics.loss } },
      );
      written = results["accumulated"] ?? {};
      loss += share * first(this.#metrics.loss);
      [from, into] = [into, from];
    }
    const accumulated = pick(from, Object.keys(written));
    const results = await this.#apply.run({ ...args, accumulated }, { ...this.#spare, metrics: { gradNorm: this.#metrics.gradNorm } });
    this.#keepUntouched(args, results);
    return { loss, gradNorm: first(this.#metrics.gradNorm) };
  }

  /** Parameters without a gradient are not among the results: the buffer that is read next gets their values. */
  #keepUntouched(args: StepArguments, results: Readonly<Record<string, Named<HostTensor>>>): void {
    for (const name of ["trainable", "optimizer"] as const) {
      for (const [key, tensor] of Object.entries(this.#spare[name])) {
        if (results[name]?.[key] === undefined) tensor.data.set((args[name][key] as HostTensor).data);
      }
    }
  }

  #key(batch: number): HostTensor {
    return int32([this.#options.seed, batch + 1], [2]);
  }
}

interface StepArguments {
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
  readonly scalars: Named<HostTensor>;
}

function first(tensor: HostTensor): number {
  return tensor.data[0] as number;
}

function cloneAll(tensors: Named<HostTensor>): Named<HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, cloneTensor(tensor)]));
}

function cloneBuffers(buffers: Buffers): Buffers {
  return { trainable: cloneAll(buffers.trainable), optimizer: cloneAll(buffers.optimizer) };
}

function zerosLike(tensors: Named<HostTensor>): Named<HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, zeros(tensor.shape)]));
}

function pick(tensors: Named<HostTensor>, names: readonly string[]): Named<HostTensor> {
  return Object.fromEntries(names.map((name) => [name, tensors[name] as HostTensor]));
}

function requireSame(what: string, expected: Named<HostTensor>, got: Named<HostTensor>): void {
  const describe = (tensors: Named<HostTensor>): string[] =>
    Object.entries(tensors).map(([name, tensor]) => `${name} [${tensor.shape.join(", ")}]`);
  const wanted = new Set(describe(expected));
  const found = new Set(describe(got));
  const missing = [...wanted].filter((entry) => !found.has(entry));
  const extra = [...found].filter((entry) => !wanted.has(entry));
  if (missing.length + extra.length === 0) return;
  throw new PeftError(
    "RESUME_MISMATCH",
    `The checkpoint's ${what} do not fit the model: missing ${missing.slice(0, 3).join(", ") || "none"}; unknown ${extra.slice(0, 3).join(", ") || "none"}. ` +
      "Resume with the model and adapter of the interrupted run, or choose another outputDir.",
  );
}
