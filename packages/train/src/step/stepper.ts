import { int32, PeftError, sizeOf } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { CompiledFunction, Counters, Engine, Groups } from "@peftjs/engine";
import { releaseTensors } from "@peftjs/engine";
import type { TrainableModel } from "../model.ts";
import { clipFactor } from "../optim/clip.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { get, initialState, scalar } from "../optim/tensors.ts";
import { requireSameTensors } from "../resume.ts";
import { batchWeight } from "../weights.ts";
import { copyAll, first, zerosLike } from "./hostTensors.ts";
import { createLayout, JOINED_SIZE, joinHost, viewHost } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { partsOf } from "./parts.ts";
import { stepFunctions } from "./step.ts";
import type { Recompute, StepFunctions } from "./step.ts";

/** 64 MB of parameters. */
const WHOLE_SIZE = 1 << 24;
/** A program per group and size of part. */
const MAX_PART_PROGRAMS = 64;

export interface StepperOptions {
  readonly model: TrainableModel;
  readonly engine: Engine;
  readonly optimizer: Optimizer;
  readonly maxGradNorm: number | null;
  readonly seed: number;
  /** Default: "none". */
  readonly recompute?: Recompute;
  /** Largest number of elements of a parameter that is joined with others; element-wise optimizers only. */
  readonly joinedSize?: number;
  /** Largest number of trainable elements that one program computes and updates; more are updated part by part. */
  readonly wholeSize?: number;
  /** Optimizer steps of the run, for methods whose schedules end with it. */
  readonly totalSteps?: number | null;
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
  /** The part of `loss` that is penalties; absent when no method has one. */
  readonly penalty?: number;
}

/** What a run goes on from. */
export interface StepTensors {
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
  /** What methods keep from step to step. */
  readonly state: Named<HostTensor>;
}

/** Gradients of a step, and what they came with. */
interface Gradients {
  readonly accumulated: Named<HostTensor>;
  readonly metrics: StepMetrics;
}

type StepArguments = Readonly<Record<"trainable" | "optimizer" | "scalars", Named<HostTensor>>>;

/**
 * Runs optimizer steps. A step writes parameters and state over what it reads, so that there is one copy of each. Large parameters are
 * the model's own tensors, small ones are views of joined memory that the model is given.
 */
export class Stepper {
  readonly #options: StepperOptions;
  readonly #layout: Layout;
  readonly #metrics = { loss: scalar(0), gradNorm: scalar(0), penalty: scalar(0) };
  readonly #programs: Readonly<Record<keyof StepFunctions, CompiledFunction>>;
  /** Whether the update runs part by part. */
  readonly #inParts: boolean;
  /** Whether gradients and update are programs of their own: in parts, or because methods look at the gradients after the update. */
  readonly #apart: boolean;
  readonly #trainable: Named<HostTensor>;
  readonly #optimizer: Named<HostTensor>;
  /** Parameters by name, over the memory of `#trainable`. */
  readonly #views: Named<HostTensor>;
  #accumulated: Named<HostTensor> | null = null;

  constructor(options: StepperOptions) {
    this.#options = options;
    const { engine, model, optimizer } = options;
    const trainable = model.trainable();
    if (Object.keys(trainable).length === 0) {
      throw new PeftError(
        "NOTHING_TO_TRAIN",
        "The model has no trainable parameters. Attach an adapter, or unfreeze parameters, before training.",
      );
    }
    const limit = optimizer.elementwise ? (options.joinedSize ?? JOINED_SIZE) : 0;
    this.#layout = createLayout(trainable, { groupOf: (parameter) => optimizer.group(parameter), limit });
    this.#trainable = joinHost(this.#layout, trainable);
    this.#optimizer = initialState(optimizer, this.#trainable);
    this.#views = viewHost(this.#layout, this.#trainable);
    model.setTrainable(this.#views);
    const functions = stepFunctions({ ...options, recompute: options.recompute ?? "none", layout: this.#layout });
    const elements = Object.values(trainable).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    this.#inParts = elements > (options.wholeSize ?? WHOLE_SIZE);
    this.#apart = this.#inParts || model.tracks === true;
    const constant = ["frozen"];
    this.#programs = {
      full: engine.compile(functions.full, { constant }),
      accumulate: engine.compile(functions.accumulate, { constant }),
      gradients: engine.compile(functions.gradients, { constant, returnMemory: this.#inParts }),
      apply: engine.compile(functions.apply, { maxPrograms: MAX_PART_PROGRAMS }),
      track: engine.compile(functions.track, { constant }),
    };
  }

  /** State by `<slot>.<parameter>`, as views of live memory. */
  get optimizerState(): Named<HostTensor> {
    const state: Record<string, HostTensor> = {};
    for (const slot of this.#options.optimizer.slots) {
      for (const [name, view] of Object.entries(viewHost(this.#layout, this.#slot(slot))))
        state[`${slot}.${name}`] = view;
    }
    return state;
  }

  /** Programs built and run so far for steps of one batch. */
  get counters(): Counters {
    return (this.#apart ? this.#programs.gradients : this.#programs.full).counters;
  }

  /** Puts what was saved in place of what is there. */
  restore({ trainable, optimizer, state }: StepTensors): void {
    const { model } = this.#options;
    const live = model.state?.() ?? {};
    requireSameTensors("parameters", this.#views, trainable);
    requireSameTensors("optimizer state", this.optimizerState, optimizer);
    requireSameTensors("method state", live, state);
    copyAll(trainable, this.#views);
    copyAll(optimizer, this.optimizerState);
    copyAll(state, live);
    model.setTrainable(this.#views);
  }

  async step(input: StepInput): Promise<StepMetrics> {
    const { model, optimizer, totalSteps = null } = this.#options;
    this.#takeIn(model.trainable());
    const args = {
      trainable: this.#trainable,
      optimizer: this.#optimizer,
      scalars: optimizer.scalars(input.step, input.learningRate),
    };
    const several = input.batches.length > 1;
    const metrics = await (several || this.#apart ? this.#inTwo(input, args) : this.#whole(input, args));
    await model.afterStep?.(input.step, totalSteps);
    return metrics;
  }

  async dispose(): Promise<void> {
    await Promise.all(Object.values(this.#programs).map((program) => program.dispose()));
  }

  async #whole(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const [batch = {}] = input.batches;
    const { trainable, optimizer } = args;
    const scalars = { ...args.scalars, key: this.#key(input.firstBatch) };
    const results = await this.#programs.full.run(
      { ...args, frozen: this.#options.model.frozen(), batch, scalars },
      { trainable, optimizer, metrics: this.#metrics },
    );
    return metricsOf(results);
  }

  /** Gradients and update one after the other: what is written in one run is copied by the runtime, and that is as much as a part. */
  async #inTwo(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const several = input.batches.length > 1;
    const gradients = await (several ? this.#several(input, args) : this.#one(input, args));
    await this.#update(args, gradients);
    if (!several) releaseTensors(gradients.accumulated);
    return gradients.metrics;
  }

  async #one({ batches: [batch = {}], firstBatch }: StepInput, { trainable }: StepArguments): Promise<Gradients> {
    const scalars = { key: this.#key(firstBatch) };
    const results = await this.#programs.gradients.run(
      { frozen: this.#options.model.frozen(), trainable, batch, scalars },
      { metrics: this.#metrics },
    );
    return { accumulated: results["accumulated"] ?? {}, metrics: metricsOf(results) };
  }

  async #several(input: StepInput, { trainable }: StepArguments): Promise<Gradients> {
    const weights = input.batches.map(batchWeight);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const sums = (this.#accumulated ??= zerosLike(trainable));
    for (const tensor of Object.values(sums)) tensor.data.fill(0);
    let accumulated: Named<HostTensor> = {};
    let [loss, gradNorm] = [0, 0];
    let penalty: number | undefined;
    for (const [i, batch] of input.batches.entries()) {
      const share = (weights[i] as number) / total;
      const scalars = { key: this.#key(input.firstBatch + i), share: scalar(share) };
      const results = await this.#programs.accumulate.run(
        { frozen: this.#options.model.frozen(), trainable, accumulated: sums, batch, scalars },
        { accumulated: sums, metrics: this.#metrics },
      );
      // Those that have a gradient.
      accumulated = results["accumulated"] ?? {};
      const metrics = metricsOf(results);
      loss += share * metrics.loss;
      // Of the last sums, which are those of the step; penalties do not depend on the batch.
      ({ gradNorm, penalty } = metrics);
    }
    return { accumulated, metrics: { loss, gradNorm, ...(penalty === undefined ? {} : { penalty }) } };
  }

  async #update(
    { trainable, optimizer, scalars }: StepArguments,
    { accumulated, metrics: { gradNorm } }: Gradients,
  ): Promise<void> {
    const { maxGradNorm, model } = this.#options;
    const clip = maxGradNorm === null ? {} : { clip: scalar(clipFactor(gradNorm, maxGradNorm)) };
    const { slots, elementwise } = this.#options.optimizer;
    const whole = { trainable, optimizer, accumulated };
    const parts = this.#inParts ? partsOf({ ...whole, layout: this.#layout, slots, elementwise }) : [whole];
    for (const part of parts) {
      const into = { trainable: part.trainable, optimizer: part.optimizer };
      await this.#programs.apply.run({ ...part, scalars: { ...scalars, ...clip } }, into);
    }
    if (model.tracks !== true) return;
    const state = model.state?.() ?? {};
    await this.#programs.track.run({ frozen: model.frozen(), trainable, accumulated, scalars: clip, state }, { state });
  }

  /** Values that the model replaced since the last step, instead of writing into what it holds. */
  #takeIn(live: Named<HostTensor>): void {
    const replaced = Object.entries(this.#views).filter(([name, { data }]) => live[name]?.data !== data);
    for (const [name, view] of replaced) view.data.set((live[name] as HostTensor).data);
    if (replaced.length > 0) this.#options.model.setTrainable(this.#views);
  }

  /** One slot of the state, keyed like the parameters. */
  #slot(slot: string): Named<HostTensor> {
    const keys = Object.keys(this.#trainable);
    return Object.fromEntries(keys.map((key) => [key, this.#optimizer[`${slot}.${key}`] as HostTensor]));
  }

  #key(batch: number): HostTensor {
    return int32([this.#options.seed, batch + 1], [2]);
  }
}

function metricsOf({ metrics = {} }: Groups<HostTensor>): StepMetrics {
  const { penalty } = metrics;
  return {
    loss: first(get(metrics, "loss")),
    gradNorm: first(get(metrics, "gradNorm")),
    ...(penalty === undefined ? {} : { penalty: first(penalty) }),
  };
}
