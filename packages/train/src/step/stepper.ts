import { float32, int32, PeftError, sizeOf, zeros } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { CompiledFunction, Counters, Engine } from "@peftjs/engine";
import { releaseTensors } from "@peftjs/engine";
import type { TrainableModel } from "../model.ts";
import { clipFactor } from "../optim/clip.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { initialState } from "../optim/tensors.ts";
import { batchWeight } from "../weights.ts";
import { createLayout, JOINED_SIZE, joinHost, viewHost } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { partsOf } from "./parts.ts";
import { stepFunctions } from "./step.ts";
import type { Recompute } from "./step.ts";

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

type StepArguments = Readonly<Record<"trainable" | "optimizer" | "scalars", Named<HostTensor>>>;

/**
 * Runs optimizer steps. A step writes parameters and state over what it reads, so that there is one copy of each. Large parameters are
 * the model's own tensors, small ones are views of joined memory that the model is given.
 */
export class Stepper {
  readonly #options: StepperOptions;
  readonly #layout: Layout;
  readonly #metrics = { loss: float32([0], []), gradNorm: float32([0], []) };
  readonly #full: CompiledFunction;
  readonly #accumulate: CompiledFunction;
  readonly #apply: CompiledFunction;
  readonly #gradients: CompiledFunction;
  /** Whether gradients and update are programs of their own, the latter part by part. */
  readonly #inParts: boolean;
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
    this.#full = engine.compile(functions.full, { constant: ["frozen"] });
    this.#accumulate = engine.compile(functions.accumulate, { constant: ["frozen"] });
    this.#gradients = engine.compile(functions.gradients, { constant: ["frozen"], returnMemory: true });
    this.#apply = engine.compile(functions.apply, { maxPrograms: MAX_PART_PROGRAMS });
    const elements = Object.values(trainable).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    this.#inParts = elements > (options.wholeSize ?? WHOLE_SIZE);
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
    return this.#inParts ? this.#gradients.counters : this.#full.counters;
  }

  /** Puts saved parameters and optimizer state in place of the current ones. */
  restore(trainable: Named<HostTensor>, optimizer: Named<HostTensor>): void {
    requireSame("parameters", this.#views, trainable);
    requireSame("optimizer state", this.optimizerState, optimizer);
    copyAll(trainable, this.#views);
    copyAll(optimizer, this.optimizerState);
    this.#options.model.setTrainable(this.#views);
  }

  async step(input: StepInput): Promise<StepMetrics> {
    const { model, optimizer } = this.#options;
    this.#takeIn(model.trainable());
    const args = {
      trainable: this.#trainable,
      optimizer: this.#optimizer,
      scalars: optimizer.scalars(input.step, input.learningRate),
    };
    const metrics = await (input.batches.length > 1
      ? this.#several(input, args)
      : this.#inParts
        ? this.#singleInParts(input, args)
        : this.#single(input, args));
    await model.afterStep?.(input.step);
    return metrics;
  }

  async dispose(): Promise<void> {
    const functions = [this.#full, this.#accumulate, this.#apply, this.#gradients];
    await Promise.all(functions.map((fn) => fn.dispose()));
  }

  async #single(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const [batch = {}] = input.batches;
    const { trainable, optimizer } = args;
    await this.#full.run(
      {
        ...args,
        frozen: this.#options.model.frozen(),
        batch,
        scalars: { ...args.scalars, key: this.#key(input.firstBatch) },
      },
      { trainable, optimizer, metrics: this.#metrics },
    );
    return { loss: first(this.#metrics.loss), gradNorm: first(this.#metrics.gradNorm) };
  }

  /** Gradients and update one after the other: what is written in one run is copied by the runtime, and that is as much as a part. */
  async #singleInParts(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const [batch = {}] = input.batches;
    const { accumulated = {} } = await this.#gradients.run(
      {
        frozen: this.#options.model.frozen(),
        trainable: args.trainable,
        batch,
        scalars: { key: this.#key(input.firstBatch) },
      },
      { metrics: this.#metrics },
    );
    const gradNorm = first(this.#metrics.gradNorm);
    await this.#update(args, { accumulated, gradNorm });
    releaseTensors(accumulated);
    return { loss: first(this.#metrics.loss), gradNorm };
  }

  async #update(
    { trainable, optimizer, scalars }: StepArguments,
    { accumulated, gradNorm }: { readonly accumulated: Named<HostTensor>; readonly gradNorm: number },
  ): Promise<void> {
    const { maxGradNorm } = this.#options;
    const clip = maxGradNorm === null ? {} : { clip: float32([clipFactor(gradNorm, maxGradNorm)], []) };
    const { slots, elementwise } = this.#options.optimizer;
    const whole = { trainable, optimizer, accumulated };
    const parts = this.#inParts ? partsOf({ ...whole, layout: this.#layout, slots, elementwise }) : [whole];
    for (const part of parts) {
      const into = { trainable: part.trainable, optimizer: part.optimizer };
      await this.#apply.run({ ...part, scalars: { ...scalars, ...clip } }, into);
    }
  }

  async #several(input: StepInput, args: StepArguments): Promise<StepMetrics> {
    const weights = input.batches.map(batchWeight);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const { trainable } = args;
    const sums = (this.#accumulated ??= zerosLike(trainable));
    for (const tensor of Object.values(sums)) tensor.data.fill(0);
    let accumulated: Named<HostTensor> = {};
    let loss = 0;
    for (const [i, batch] of input.batches.entries()) {
      const share = (weights[i] as number) / total;
      const scalars = { key: this.#key(input.firstBatch + i), share: float32([share], []) };
      const results = await this.#accumulate.run(
        { frozen: this.#options.model.frozen(), trainable, accumulated: sums, batch, scalars },
        { accumulated: sums, metrics: this.#metrics },
      );
      // Those that have a gradient.
      accumulated = results["accumulated"] ?? {};
      loss += share * first(this.#metrics.loss);
    }
    // Of the last sums, which are those of the step.
    const gradNorm = first(this.#metrics.gradNorm);
    await this.#update(args, { accumulated, gradNorm });
    return { loss, gradNorm };
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

function first(tensor: HostTensor): number {
  return tensor.data[0] as number;
}

function zerosLike(tensors: Named<HostTensor>): Named<HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, zeros(tensor.shape)]));
}

function copyAll(from: Named<HostTensor>, to: Named<HostTensor>): void {
  for (const [name, tensor] of Object.entries(to)) tensor.data.set((from[name] as HostTensor).data);
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
