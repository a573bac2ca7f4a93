import type { Named } from "@peftjs/core";
import type { Groups, TensorFunction } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainableModel } from "./model.ts";
import { clipScale, globalNorm } from "./optim/clip.ts";
import type { Optimizer } from "./optim/optimizer.ts";
import { get } from "./optim/tensors.ts";

export interface StepOptions {
  readonly model: TrainableModel;
  readonly optimizer: Optimizer;
  /** Bound on the global gradient norm; null: gradients are used as they are. */
  readonly maxGradNorm: number | null;
}

/**
 * One whole training step as a tensor function:
 * `{ frozen, trainable, optimizer, batch, scalars }` → `{ trainable, optimizer, metrics: { loss, gradNorm } }`.
 * `scalars` holds `key` (int32 [2]) and what the optimizer asks for. Parameters that the loss does not depend on are not
 * among the results.
 */
export function trainingStep(options: StepOptions): TensorFunction {
  return (args) => {
    const { loss, grads } = lossAndGradients(options.model, args);
    const { trainable, optimizer, gradNorm } = applyGradients(options, args, grads);
    return { trainable, optimizer, metrics: { loss, gradNorm } };
  };
}

/**
 * The first half of a step over several micro-batches: `accumulated` + share·∇loss, where `scalars.share` is the
 * micro-batch's part of the step's total weight, so that the sum is the gradient of the weighted mean over all rows.
 */
export function accumulationStep(model: TrainableModel): TensorFunction {
  return (args) => {
    const { loss, grads } = lossAndGradients(model, args);
    const share = get(group(args, "scalars"), "share");
    const before = group(args, "accumulated");
    const accumulated = mapValues(grads, (g, name) => tf.add(get(before, name), tf.mul(g, share)));
    return { accumulated, metrics: { loss } };
  };
}

/** The second half: the optimizer's update from accumulated gradients. */
export function applyStep(options: Omit<StepOptions, "model">): TensorFunction {
  return (args) => {
    const { trainable, optimizer, gradNorm } = applyGradients(options, args, group(args, "accumulated"));
    return { trainable, optimizer, metrics: { gradNorm } };
  };
}

function lossAndGradients(model: TrainableModel, args: Groups<tf.Tensor>): { loss: tf.Scalar; grads: Named<tf.Tensor> } {
  const trainable = group(args, "trainable");
  const key = get(group(args, "scalars"), "key") as tf.Tensor1D;
  const compute = (): tf.Scalar =>
    model.loss({ frozen: group(args, "frozen"), trainable }, group(args, "batch"), { training: true, key });
  // tf.valueAndGrads refuses a parameter that the loss does not depend on; the engine underneath reports it as undefined.
  const { value, grads } = tf.engine().gradients(compute, Object.values(trainable));
  const byName: Record<string, tf.Tensor> = {};
  Object.keys(trainable).forEach((name, i) => {
    const gradient = grads[i] as tf.Tensor | undefined | null;
    if (gradient !== undefined && gradient !== null) byName[name] = gradient;
  });
  return { loss: value, grads: byName };
}

function applyGradients(
  { optimizer, maxGradNorm }: Omit<StepOptions, "model">,
  args: Groups<tf.Tensor>,
  grads: Named<tf.Tensor>,
): { trainable: Named<tf.Tensor>; optimizer: Named<tf.Tensor>; gradNorm: tf.Scalar } {
  const gradNorm = globalNorm(grads);
  const update = optimizer.update({
    params: group(args, "trainable"),
    grads,
    state: group(args, "optimizer"),
    scalars: group(args, "scalars"),
    gradientScale: maxGradNorm === null ? null : clipScale(gradNorm, maxGradNorm),
  });
  return { trainable: update.params, optimizer: update.state, gradNorm };
}

function group(args: Groups<tf.Tensor>, name: string): Named<tf.Tensor> {
  return args[name] ?? {};
}

function mapValues<T, U>(record: Named<T>, fn: (value: T, name: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, fn(value, name)]));
}
