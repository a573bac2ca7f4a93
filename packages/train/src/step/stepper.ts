import { PeftError, sizeOf } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { CompiledFunction, Counters, Engine } from "@peftjs/engine";
import { releaseTensors } from "@peftjs/engine";
import type { TrainableModel } from "../model.ts";
import { clipFactor } from "../optim/clip.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { initialState, keyed, scalar, tensorsOf } from "../optim/tensors.ts";
import { requireSameTensors } from "../resume.ts";
import { Clocks } from "./clocks.ts";
import { Depths } from "./depths.ts";
import type { StepFacts } from "./facts.ts";
import { batchKey, FirstHalf, metricsOf, stepMetrics } from "./firstHalf.ts";
import type { BackwardInput, Gradients, StepMetrics } from "./firstHalf.ts";
import { GradientPrograms } from "./gradientPrograms.ts";
import { copyAll } from "./hostTensors.ts";
import { createLayout, JOINED_SIZE, joinHost, presentIn, ruled, viewHost } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { partsOf } from "./parts.ts";
import { dueRules, refreshRules, sketchInputs } from "./rules.ts";
import type { DueRule } from "./rules.ts";
import { stepFunctions } from "./step.ts";
import type { Recompute, UpdateFunctions } from "./step.ts";
import { StepScalars } from "./stepScalars.ts";

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
  /** Whether steps may leave blocks out. Default: false. */
  readonly choosesBlocks?: boolean;
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
  /** Blocks that learn, where `choosesBlocks`. Default: all. */
  readonly blocks?: readonly number[] | undefined;
}

/** What a run goes on from. */
export interface StepTensors {
  readonly trainable: Named<HostTensor>;
  readonly optimizer: Named<HostTensor>;
  /** What methods keep from step to step. */
  readonly state: Named<HostTensor>;
}

/** A step that is run in two. */
interface CurrentStep {
  readonly backward: BackwardInput;
  readonly scalars: StepScalars;
  readonly facts: StepFacts;
  readonly due: readonly DueRule[];
}

/**
 * Runs optimizer steps. A step writes parameters and state over what it reads, so that there is one copy of each. Large parameters are
 * the model's own tensors, small ones are views of joined memory that the model is given.
 */
export class Stepper {
  readonly #options: StepperOptions;
  readonly #layout: Layout;
  readonly #clocks: Clocks;
  readonly #depths: Depths;
  readonly #metrics = stepMetrics();
  readonly #programs: GradientPrograms;
  readonly #updates: Readonly<Record<keyof UpdateFunctions, CompiledFunction>>;
  readonly #firstHalf: FirstHalf;
  /** Whether the update runs part by part. */
  readonly #inParts: boolean;
  /** Whether gradients and update are programs of their own: in parts, or because methods look at the gradients after the update. */
  readonly #apart: boolean;
  readonly #trainable: Named<HostTensor>;
  readonly #optimizer: Named<HostTensor>;
  /** Of it, the state of every tensor with a rule, by its key and by slot. */
  readonly #ruleStates: Named<Named<HostTensor>>;
  /** Parameters by name, over the memory of `#trainable`. */
  readonly #views: Named<HostTensor>;

  constructor(options: StepperOptions) {
    this.#options = options;
    const { engine, model, optimizer, choosesBlocks = false } = options;
    const { plugins } = model;
    const trainable = model.trainable();
    if (Object.keys(trainable).length === 0) {
      throw new PeftError(
        "NOTHING_TO_TRAIN",
        "The model has no trainable parameters. Attach an adapter, or unfreeze parameters, before training.",
      );
    }
    this.#layout = createLayout(trainable, {
      groupOf: (parameter) => optimizer.group(parameter),
      limit: optimizer.elementwise ? (options.joinedSize ?? JOINED_SIZE) : 0,
      blockOf: choosesBlocks ? (name) => plugins?.blockOf(name) ?? null : undefined,
      ruleOf: (name) => plugins?.rule(name) ?? null,
    });
    this.#clocks = new Clocks(Object.values(this.#layout.blocks));
    this.#depths = new Depths(plugins, this.#clocks.blocks);
    this.#trainable = joinHost(this.#layout, trainable);
    this.#optimizer = initialState(optimizer, this.#trainable, this.#layout.rules);
    this.#ruleStates = Object.fromEntries(
      ruled(this.#layout).map(([key]) => [key, tensorsOf(this.#optimizer, key)] as const),
    );
    this.#views = viewHost(this.#layout, this.#trainable);
    model.setTrainable(this.#views);
    const functions = stepFunctions({ ...options, recompute: options.recompute ?? "none", layout: this.#layout });
    const elements = Object.values(trainable).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    this.#inParts = elements > (options.wholeSize ?? WHOLE_SIZE);
    this.#apart = this.#inParts || model.tracks === true;
    const refreshes = !this.#apart && Object.keys(this.#layout.rules).length > 0;
    // Several programs would hold the memory of several steps.
    const returnMemory = this.#inParts || this.#clocks.blocks.length > 0;
    this.#programs = new GradientPrograms(engine, { functions: functions.from, returnMemory, refreshes });
    this.#updates = {
      apply: engine.compile(functions.apply, { maxPrograms: MAX_PART_PROGRAMS }),
      track: engine.compile(functions.track, { constant: ["frozen"] }),
    };
    const tensors = { layout: this.#layout, trainable: this.#trainable, ruleStates: this.#ruleStates };
    this.#firstHalf = new FirstHalf({ ...options, ...tensors, programs: this.#programs });
  }

  /** State by `<slot>.<parameter>`, as views of live memory. */
  get optimizerState(): Named<HostTensor> {
    const { rules } = this.#layout;
    const state: Record<string, HostTensor> = {};
    for (const slot of this.#options.optimizer.slots) {
      const own = Object.keys(this.#trainable).filter((key) => rules[key] === undefined);
      const tensors = Object.fromEntries(own.map((key) => [key, this.#optimizer[`${slot}.${key}`] as HostTensor]));
      for (const [name, view] of Object.entries(viewHost(presentIn(this.#layout, tensors), tensors)))
        state[`${slot}.${name}`] = view;
    }
    for (const [key, own] of Object.entries(this.#ruleStates)) Object.assign(state, keyed(own, key));
    return state;
  }

  /** How often each block that may pause has been updated. */
  get updates(): Readonly<Record<string, number>> {
    return this.#clocks.toJSON();
  }

  /** Programs built and run so far for steps of one batch. */
  get counters(): Counters {
    return this.#programs.counters(this.#apart ? "gradients" : "full");
  }

  /** Puts what was saved in place of what is there. */
  restore({ trainable, optimizer, state }: StepTensors, updates: Readonly<Record<string, number>> = {}): void {
    const { model } = this.#options;
    const live = model.state?.() ?? {};
    requireSameTensors("parameters", this.#views, trainable);
    requireSameTensors("optimizer state", this.optimizerState, optimizer);
    requireSameTensors("method state", live, state);
    copyAll(trainable, this.#views);
    copyAll(optimizer, this.optimizerState);
    copyAll(state, live);
    model.setTrainable(this.#views);
    this.#clocks.restore(updates);
  }

  async step(input: StepInput): Promise<StepMetrics> {
    const { model, optimizer, totalSteps = null } = this.#options;
    this.#takeIn(model.trainable());
    const learns = (block: number): boolean => input.blocks?.includes(block) ?? true;
    this.#clocks.advance(learns);
    const facts = { ...input, layout: this.#layout, clocks: this.#clocks, learns, ruleStates: this.#ruleStates };
    const scalars = new StepScalars({ ...facts, optimizer });
    const { batches, firstBatch } = input;
    const backward = { batches, firstBatch, from: this.#depths.from(input.blocks), open: scalars.open };
    const due = dueRules(facts);
    const inTwo = batches.length > 1 || this.#apart || due.length > 0;
    const metrics = await (inTwo ? this.#inTwo({ backward, scalars, facts, due }) : this.#whole(backward, scalars));
    await model.afterStep?.(input.step, totalSteps);
    return metrics;
  }

  async dispose(): Promise<void> {
    const { apply, track } = this.#updates;
    await Promise.all([this.#programs.dispose(), apply.dispose(), track.dispose()]);
  }

  async #whole({ batches: [batch = {}], firstBatch, from }: BackwardInput, scalars: StepScalars): Promise<StepMetrics> {
    const { model, seed } = this.#options;
    const [trainable, optimizer] = [this.#trainable, this.#optimizer];
    const numbers = { ...scalars.all, key: batchKey(seed, firstBatch) };
    const results = await this.#programs
      .get("full", from)
      .run(
        { frozen: model.frozen(), trainable, optimizer, batch, scalars: numbers, scales: this.#layout.scales },
        { trainable, optimizer, metrics: this.#metrics },
      );
    return metricsOf(results);
  }

  /** Gradients and update one after the other: what is written in one run is copied by the runtime, and that is as much as a part. */
  async #inTwo({ backward, scalars, facts, due }: CurrentStep): Promise<StepMetrics> {
    const several = backward.batches.length > 1;
    const sketched = due.filter(({ rule }) => rule.sketch !== undefined);
    if (sketched.length > 0) {
      await this.#firstHalf.refreshFromSketches(backward, { due: sketched, inputs: sketchInputs(facts, sketched) });
    }
    const gradients = await (several ? this.#firstHalf.several(backward) : this.#firstHalf.one(backward));
    const seen = due.filter(({ rule }) => rule.sketch === undefined);
    await refreshRules(seen, { gradients: gradients.accumulated, sketches: {}, engine: this.#options.engine });
    await this.#update(scalars, gradients);
    if (!several) releaseTensors(gradients.accumulated);
    return gradients.metrics;
  }

  async #update(scalars: StepScalars, { accumulated, metrics: { gradNorm } }: Gradients): Promise<void> {
    const { maxGradNorm, model } = this.#options;
    const clip = maxGradNorm === null ? {} : { clip: scalar(clipFactor(gradNorm, maxGradNorm)) };
    const { slots, elementwise } = this.#options.optimizer;
    const [trainable, optimizer] = [this.#trainable, this.#optimizer];
    const whole = { key: null, trainable, optimizer, accumulated, scales: this.#layout.scales };
    const parts = this.#inParts ? partsOf({ ...whole, layout: this.#layout, slots, elementwise }) : [whole];
    for (const { key, ...part } of parts) {
      if (key !== null && !scalars.learns(key)) continue;
      const into = { trainable: part.trainable, optimizer: part.optimizer };
      const numbers = key === null ? scalars.all : scalars.of(key, Object.keys(part.trainable)[0] as string);
      await this.#updates.apply.run({ ...part, scalars: { ...numbers, ...clip } }, into);
    }
    if (model.tracks !== true) return;
    const state = model.state?.() ?? {};
    await this.#updates.track.run(
      { frozen: model.frozen(), trainable, accumulated, scalars: { ...scalars.open, ...clip }, state },
      { state },
    );
  }

  /** Values that the model replaced since the last step, instead of writing into what it holds. */
  #takeIn(live: Named<HostTensor>): void {
    const replaced = Object.entries(this.#views).filter(([name, { data }]) => live[name]?.data !== data);
    for (const [name, view] of replaced) view.data.set((live[name] as HostTensor).data);
    if (replaced.length > 0) this.#options.model.setTrainable(this.#views);
  }
}
