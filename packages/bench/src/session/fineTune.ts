import { peft } from "@peftjs/core";
import type { Method, PeftModel } from "@peftjs/core";
import type { DataRow } from "@peftjs/data";
import type { Engine } from "@peftjs/engine";
import { Trainer } from "@peftjs/train";
import type { Logger, TrainingConfigInput, TrainingResult } from "@peftjs/train";
import { evaluationPlan, trainingPlan } from "./textModel.ts";
import type { TextModel } from "./textModel.ts";

export interface FineTuneOptions {
  readonly text: TextModel;
  readonly engine: Engine;
  readonly method: Method;
  readonly methodConfig: object;
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

/** Attaches a method to a model and trains it on rows of text. */
export async function fineTune(options: FineTuneOptions): Promise<FineTuned> {
  const { text, engine, method, methodConfig, train, dev, batchSize, seed } = options;
  const model = await peft(text.base).use(method, methodConfig, { seed }).apply();
  const trainer = new Trainer({
    model,
    engine,
    train: trainingPlan(text, train, { batchSize, seed }),
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
