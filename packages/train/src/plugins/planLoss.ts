import { float32, PeftError } from "@peftjs/core";
import type { HostTensor, Named, PluginLossOptions, ResponseKind } from "@peftjs/core";
import type { CompiledFunction, Engine, TensorFunction } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import type { EvaluationPlan, TrainableModel, TrainingPlan } from "../model.ts";
import { get } from "../optim/tensors.ts";

export interface PlanLossOptions {
  readonly model: TrainableModel;
  readonly engine: Engine;
  readonly train: TrainingPlan;
  readonly evaluation: EvaluationPlan | undefined;
  /** Of the order in which plug-ins see the training data. */
  readonly seed: number;
}

/** Losses of the model on rows of a run's data, as in evaluation: forward-only programs, one per kind of response. */
export class PlanLoss {
  readonly #options: PlanLossOptions;
  readonly #programs = new Map<ResponseKind, CompiledFunction>();
  /** By rows of a batch. */
  readonly #plans = new Map<number, TrainingPlan>();

  constructor(options: PlanLossOptions) {
    this.#options = options;
  }

  async loss(options: PluginLossOptions): Promise<number> {
    const { engine, model } = this.#options;
    const { response = "method" } = options;
    let program = this.#programs.get(response);
    if (program === undefined) {
      program = engine.compile(lossStep(model, response), { constant: ["frozen"], returnMemory: true });
      this.#programs.set(response, program);
    }
    const batch = { ...this.#batch(options), ...this.#scale(options) };
    const { results = {} } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
    return get(results, "loss").data[0] as number;
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.#programs.values()].map((program) => program.dispose()));
  }

  #batch({ source, index, rows }: PluginLossOptions): Named<HostTensor> {
    const { evaluation, train, seed } = this.#options;
    if (source === "validation") {
      if (evaluation !== undefined) return evaluation.batchAt(index % evaluation.batches).batch;
      throw new PeftError(
        "DATA_MISSING",
        "A plug-in asks for the loss of validation rows, but the run has none. Give the trainer an `evaluation` plan, or let the plug-in look at training rows.",
      );
    }
    const plan = this.#plans.get(rows) ?? train.divided?.({ rows, seed }) ?? train;
    this.#plans.set(rows, plan);
    return plan.batchAt(index);
  }

  #scale({ responseScale }: PluginLossOptions): Named<HostTensor> {
    return responseScale === undefined ? {} : { response_scale: float32(responseScale, [responseScale.length]) };
  }
}

/** `{ frozen, trainable, batch }` → `{ results: { loss } }`. */
function lossStep(model: TrainableModel, response: ResponseKind): TensorFunction {
  return ({ frozen = {}, trainable = {}, batch = {} }) => {
    const mode = { training: false, key: tf.tensor1d([0, 0], "int32"), response };
    return { results: { loss: model.loss({ frozen, trainable }, batch, mode) } };
  };
}
