import { int32, zeros } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import type { Engine, Groups } from "@peftjs/engine";
import type { TrainableModel } from "../model.ts";
import { get, keyed, scalar } from "../optim/tensors.ts";
import { batchWeight } from "../weights.ts";
import type { GradientPrograms } from "./gradientPrograms.ts";
import { first } from "./hostTensors.ts";
import { ruled } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { refreshRules } from "./rules.ts";
import type { DueRule } from "./rules.ts";

export interface StepMetrics {
  /** Weighted mean loss over all rows of the step, before the update. */
  readonly loss: number;
  /** Global gradient norm before clipping. */
  readonly gradNorm: number;
  /** The part of `loss` that is penalties; absent when no method has one. */
  readonly penalty?: number;
}

/** Gradients of a step, and what they came with. */
export interface Gradients {
  readonly accumulated: Named<HostTensor>;
  readonly metrics: StepMetrics;
}

export interface FirstHalfOptions {
  readonly model: TrainableModel;
  readonly engine: Engine;
  readonly layout: Layout;
  readonly seed: number;
  readonly programs: GradientPrograms;
  readonly trainable: Named<HostTensor>;
  /** Live state of every tensor with a rule, by its key and by slot. */
  readonly ruleStates: Named<Named<HostTensor>>;
}

/** The backward passes of one step. */
export interface BackwardInput {
  readonly batches: readonly Named<HostTensor>[];
  /** Number of the first of them in the run, from 0. */
  readonly firstBatch: number;
  /** The first block that learns. */
  readonly from: number;
  /** Whether blocks learn. */
  readonly open: Named<HostTensor>;
}

/** The first half of a step that is run in two: its gradients. */
export class FirstHalf {
  readonly #options: FirstHalfOptions;
  readonly #metrics = stepMetrics();
  /** What reducing gradients needs of the rules' state. */
  readonly #reducers: Named<HostTensor>;
  #sums: Named<HostTensor> | null = null;

  constructor(options: FirstHalfOptions) {
    this.#options = options;
    const reducing = ruled(options.layout).filter(([, rule]) => rule.reduce !== undefined);
    this.#reducers = Object.assign(
      {},
      ...reducing.map(([key]) => keyed(options.ruleStates[key] ?? {}, key)),
    ) as Named<HostTensor>;
  }

  /** Of one batch: memory that the caller releases. */
  async one({ batches: [batch = {}], firstBatch, from, open }: BackwardInput): Promise<Gradients> {
    const { model, programs, trainable, seed } = this.#options;
    const scalars = { ...open, key: batchKey(seed, firstBatch) };
    const results = await programs
      .get("gradients", from)
      .run(
        { frozen: model.frozen(), trainable, optimizer: this.#reducers, batch, scalars },
        { metrics: this.#metrics },
      );
    return { accumulated: results["accumulated"] ?? {}, metrics: metricsOf(results) };
  }

  /** Of several: sums in memory that is kept for the next step. */
  async several({ batches, firstBatch, from, open }: BackwardInput): Promise<Gradients> {
    const { model, programs, layout, trainable, seed } = this.#options;
    const weights = batches.map(batchWeight);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const sums = (this.#sums ??= zeroGradients(layout, trainable));
    for (const tensor of Object.values(sums)) tensor.data.fill(0);
    let accumulated: Named<HostTensor> = {};
    let [loss, gradNorm] = [0, 0];
    let penalty: number | undefined;
    for (const [i, batch] of batches.entries()) {
      const share = (weights[i] as number) / total;
      const scalars = { ...open, key: batchKey(seed, firstBatch + i), share: scalar(share) };
      const results = await programs
        .get("accumulate", from)
        .run(
          { frozen: model.frozen(), trainable, optimizer: this.#reducers, accumulated: sums, batch, scalars },
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

  /** Gradients that are reduced in their program are never seen whole, so what their rules need of them is asked for before. */
  async refreshFromSketches(
    { batches: [batch = {}], firstBatch, from, open }: BackwardInput,
    { due, inputs }: { readonly due: readonly DueRule[]; readonly inputs: Named<HostTensor> },
  ): Promise<void> {
    const { engine, model, programs, trainable, seed } = this.#options;
    const scalars = { ...open, key: batchKey(seed, firstBatch) };
    const results = await programs
      .get("sketch", from)
      .run({ frozen: model.frozen(), trainable, batch, due: inputs, scalars });
    await refreshRules(due, { gradients: {}, sketches: results["sketch"] ?? {}, engine });
  }
}

/** Memory for what a step's programs report. */
export function stepMetrics(): Named<HostTensor> {
  return { loss: scalar(0), gradNorm: scalar(0), penalty: scalar(0) };
}

export function metricsOf({ metrics = {} }: Groups<HostTensor>): StepMetrics {
  const { penalty } = metrics;
  return {
    loss: first(get(metrics, "loss")),
    gradNorm: first(get(metrics, "gradNorm")),
    ...(penalty === undefined ? {} : { penalty: first(penalty) }),
  };
}

/** What dropout draws from: int32 [2]. */
export function batchKey(seed: number, batch: number): HostTensor {
  return int32([seed, batch + 1], [2]);
}

function zeroGradients({ rules }: Layout, trainable: Named<HostTensor>): Named<HostTensor> {
  const entries = Object.entries(trainable).map(([key, { shape }]) => {
    const rule = rules[key];
    return [key, zeros(rule?.reduce === undefined ? shape : (rule.reduced ?? shape))] as const;
  });
  return Object.fromEntries(entries);
}
