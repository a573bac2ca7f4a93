import { peft } from "@peftjs/core";
import type { AttachPluginOptions, Method, PeftModel } from "@peftjs/core";
import type { DataRow } from "@peftjs/data";
import type { Engine } from "@peftjs/engine";
import { epochBatches, Trainer } from "@peftjs/train";
import type { Logger, TrainingConfigInput, TrainingResult } from "@peftjs/train";
import { evaluationPlan, trainingPlan } from "./textModel.ts";
import type { TextModel } from "./textModel.ts";

export interface FineTuneOptions {
  readonly text: TextModel;
  readonly engine: Engine;
  readonly method: Method;
  readonly methodConfig: object;
  /** What steers the training. */
  readonly plugins?: readonly AttachPluginOptions<object>[] | undefined;
  readonly train: readonly DataRow[];
  readonly dev?: readonly DataRow[] | undefined;
  readonly batchSize: number;
  /** Of the adapter's start, the order of the rows and dropout. */
  readonly seed: number;
  readonly training: TrainingConfigInput;
  readonly loggers?: readonly Logger[];
  readonly signal?: AbortSignal;
}

export interface FineTuned {
  /** With the best evaluation's parameters where there is a dev set. */
  readonly model: PeftModel;
  readonly result: TrainingResult;
}

/**
 * Attaches a method and plug-ins to a model and trains it on rows of text. A method that looks at data before it starts is shown the training
 * batches in their own order; equal rows and seeds give it an equal start, so that a resumed run arrives at the adapter it left.
 */
export async function fineTune(options: FineTuneOptions): Promise<FineTuned> {
  const { text, engine, method, methodConfig, train, dev, batchSize, seed } = options;
  const plan = trainingPlan(text, train, { batchSize, seed });
  const model = await peft(text.base)
    .use(method, methodConfig, { seed })
    .apply({ batches: epochBatches(plan), runner: engine });
  for (const plugin of options.plugins ?? []) model.plugins.attach(plugin);
  const trainer = new Trainer({
    model,
    engine,
    train: plan,
    evaluation: dev === undefined ? undefined : evaluationPlan(text, dev, batchSize),
    config: { ...options.training, seed },
    loggers: options.loggers ?? [],
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  try {
    return { model, result: await trainer.train() };
  } finally {
    await trainer.dispose();
  }
}
