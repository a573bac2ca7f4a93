import { createGenerator, float32, int32, peft } from "@peftjs/core";
import type { BaseModel, HostTensor, Method, Named, PeftModel, UseOptions } from "@peftjs/core";
import type { Engine } from "@peftjs/engine";
import { Trainer } from "@peftjs/train";
import type { TrainerOptions, TrainingConfigInput } from "@peftjs/train";
import * as tf from "@tensorflow/tfjs-core";
import { batchAt, calibrationBatches, tinyModel } from "./subjects.ts";
import type { Family } from "./subjects.ts";

/** One method under one config. Config types of different methods have nothing in common. */
export interface Subject {
  readonly method: Method;
  readonly config: Readonly<Record<string, unknown>>;
}

export interface AttachedOptions extends UseOptions {
  readonly family: Family;
  readonly engine: Engine;
  readonly base?: BaseModel;
}

/** A fresh adapter on a tiny model. */
export async function attached(
  { method, config }: Subject,
  { family, engine, base = tinyModel(family), ...use }: AttachedOptions,
): Promise<PeftModel> {
  return peft(base)
    .use(method, config, { seed: 5, ...use })
    .apply({ batches: calibrationBatches(family), runner: engine });
}

/** Adds noise to everything that learns, or to the adapters' layers alone, so that no parameter is where its method starts it. */
export function perturb(model: PeftModel, { seed = 9, std = 0.1, layersOnly = false } = {}): void {
  const generator = createGenerator(seed);
  const chosen = Object.entries(model.trainable()).filter(([name]) => !layersOnly || isOnLayer(model, name));
  const moved = chosen.map(([name, { data, shape }]): [string, HostTensor] => {
    const noise = generator.normal(data.length, 0, std);
    return [
      name,
      float32(
        Float32Array.from(data, (value, i) => value + (noise[i] as number)),
        shape,
      ),
    ];
  });
  model.setTrainable(Object.fromEntries(moved));
}

/** Whether a trainable value is a parameter of an adapted layer, not a private copy of a base parameter. */
export function isOnLayer(model: PeftModel, key: string): boolean {
  const [adapter = ""] = key.split(".", 1);
  return model.adapters.get(adapter)?.params.has(key.slice(adapter.length + 1)) ?? false;
}

/** An adapter whose parameters all differ from their start. */
export async function perturbed(
  subject: Subject,
  { noise = {}, ...options }: AttachedOptions & { readonly noise?: Parameters<typeof perturb>[1] },
): Promise<PeftModel> {
  const model = await attached(subject, options);
  perturb(model, noise);
  return model;
}

/** Logits of one batch. `training`: with dropout, drawn from a fixed key. */
export async function logits(
  model: PeftModel,
  { engine, batch, training = false }: { engine: Engine; batch: Named<HostTensor>; training?: boolean },
): Promise<HostTensor> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch: inputs = {}, scalars = {} }) => {
    const key = scalars["key"] as tf.Tensor1D | undefined;
    const outputs = model.forward({ frozen, trainable }, inputs, { training, key });
    return { results: { logits: outputs["logits"] as tf.Tensor } };
  });
  try {
    const { results } = await program.run({
      ...{ frozen: model.frozen(), trainable: model.trainable(), batch },
      ...(training ? { scalars: { key: int32([1, 2], [2]) } } : {}),
    });
    return results?.["logits"] as HostTensor;
  } finally {
    await program.dispose();
  }
}

/** Values of the training loss, penalties included, and its gradient by parameter. */
export interface LossProgram {
  run(batch: Named<HostTensor>): Promise<{ readonly loss: number; readonly gradients: Named<HostTensor> }>;
  dispose(): Promise<void>;
}

/** Parameters that the loss does not depend on have no gradient. */
export function lossProgram(model: PeftModel, engine: Engine): LossProgram {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch: inputs = {} }) => {
    const compute = (): tf.Scalar => model.loss({ frozen, trainable }, inputs, { training: true });
    const { value, grads } = tf.engine().gradients(compute, Object.values(trainable));
    const found = Object.keys(trainable).flatMap((name, i) => {
      const gradient = grads[i] as tf.Tensor | null | undefined;
      return gradient === null || gradient === undefined ? [] : [[name, gradient] as const];
    });
    return { results: { loss: value as tf.Tensor }, gradients: Object.fromEntries(found) };
  });
  return {
    run: async (batch) => {
      const { results, gradients = {} } = await program.run({
        ...{ frozen: model.frozen(), trainable: model.trainable(), batch },
      });
      return { loss: results?.["loss"]?.data[0] as number, gradients };
    },
    dispose: () => program.dispose(),
  };
}

/** Trains on the fixed sequence of batches and returns the losses. */
export function train(
  model: PeftModel,
  {
    family,
    engine,
    steps,
    config = {},
  }: { family: Family; engine: Engine; steps: number; config?: TrainingConfigInput },
): Promise<readonly number[]> {
  return lossesOf({
    ...{ model, engine },
    train: { batchesPerEpoch: steps, batchAt: (index) => batchAt(family, index) },
    config: { learningRate: 1e-2, ...config },
  });
}

/** The losses of a run of one epoch at a constant rate, without evaluation, unless `config` says otherwise. */
export async function lossesOf({ config, ...options }: TrainerOptions): Promise<readonly number[]> {
  const losses: number[] = [];
  const trainer = new Trainer({
    ...options,
    config: { epochs: 1, schedule: "constant", warmupSteps: 0, evalEvery: "never", ...config },
    loggers: [{ step: ({ loss }) => void losses.push(loss) }],
  });
  try {
    await trainer.train();
    return losses;
  } finally {
    await trainer.dispose();
  }
}
