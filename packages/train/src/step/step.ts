import type { Named } from "@peftjs/core";
import type { Groups, TensorFunction } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainableModel } from "../model.ts";
import { clipScale, globalNorm } from "../optim/clip.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { get } from "../optim/tensors.ts";
import { join, presentIn, split } from "./layout.ts";
import type { Layout } from "./layout.ts";

/** What runs again in the backward pass instead of being kept. */
export type Recompute = "none" | "blocks";

export interface StepOptions {
  readonly model: TrainableModel;
  readonly optimizer: Optimizer;
  /** Bound on the global gradient norm; null: gradients are used as they are. */
  readonly maxGradNorm: number | null;
  /** Whether the model's blocks keep their inputs alone for the backward pass. */
  readonly recompute: Recompute;
  /** How the groups `trainable`, `optimizer` and `accumulated` hold the parameters. */
  readonly layout: Layout;
}

export interface StepFunctions {
  /**
   * One whole training step: `{ frozen, trainable, optimizer, batch, scalars }` → `{ trainable, optimizer, metrics: { loss,
   * gradNorm, penalty } }`, the last where a method has one. `scalars` holds `key` (int32 [2]) and what the optimizer asks for.
   */
  readonly full: TensorFunction;
  /**
   * The first half of a step over several micro-batches: `accumulated` + share·∇loss and its norm, where `scalars.share` is the
   * micro-batch's part of the step's total weight, so that the sum is the gradient of the weighted mean over all rows.
   */
  readonly accumulate: TensorFunction;
  /** The first half of a step in parts: `{ frozen, trainable, batch, scalars }` → `{ accumulated, metrics }`. */
  readonly gradients: TensorFunction;
  /** The second half, for all tensors or some: `scalars.clip` multiplies the gradients. Runs after `gradients` or `accumulate`. */
  readonly apply: TensorFunction;
  /** After the update, with the gradients of the first half: `{ frozen, trainable, accumulated, scalars, state }` → `{ state }`. */
  readonly track: TensorFunction;
}

/** What a loss depends on follows from the model alone; `apply` learns it when the first half is traced. */
type Untouched = Set<string>;

/** Tensor functions of a step. Tensors that the loss does not depend on are not among the results. */
export function stepFunctions(options: StepOptions): StepFunctions {
  const untouched: Untouched = new Set();
  return {
    full: (args) => {
      const { metrics, grads } = lossAndGradients(options, args, untouched);
      return { ...update(options, args, { grads, untouched }), metrics: { ...metrics, gradNorm: globalNorm(grads) } };
    },
    accumulate: (args) => {
      const { metrics, grads } = lossAndGradients(options, args, untouched);
      const share = get(group(args, "scalars"), "share");
      const before = group(args, "accumulated");
      const accumulated = mapValues(grads, (g, name) => tf.add(get(before, name), tf.mul(g, share)));
      return { accumulated, metrics: { ...metrics, gradNorm: globalNorm(accumulated) } };
    },
    gradients: (args) => {
      const { metrics, grads } = lossAndGradients(options, args, untouched);
      return { accumulated: grads, metrics: { ...metrics, gradNorm: globalNorm(grads) } };
    },
    apply: (args) => update({ ...options, maxGradNorm: null }, args, { grads: group(args, "accumulated"), untouched }),
    track: (args) => ({ state: track(options, args, untouched) }),
  };
}

interface LossAndGradients {
  /** `loss`, and `penalty` where a method has one. */
  readonly metrics: Named<tf.Tensor>;
  readonly grads: Named<tf.Tensor>;
}

function lossAndGradients(
  { model, layout, recompute }: StepOptions,
  args: Groups<tf.Tensor>,
  untouched: Untouched,
): LossAndGradients {
  const trainable = split(layout, group(args, "trainable"));
  const key = get(group(args, "scalars"), "key") as tf.Tensor1D;
  const mode = { training: true, key, recompute: recompute === "blocks" };
  const parameters = { frozen: group(args, "frozen"), trainable };
  const compute = (): tf.Scalar => model.loss(parameters, group(args, "batch"), mode);
  // tf.valueAndGrads refuses a parameter that the loss does not depend on; the engine underneath reports it as undefined.
  const { value, grads } = tf.engine().gradients(compute, Object.values(trainable));
  const byName: Record<string, tf.Tensor> = {};
  Object.keys(trainable).forEach((name, i) => {
    const gradient = grads[i] as tf.Tensor | undefined | null;
    if (gradient === undefined || gradient === null) untouched.add(name);
    else byName[name] = gradient;
  });
  const penalties = [...(model.penalties?.(parameters) ?? [])];
  const metrics = penalties.length === 0 ? { loss: value } : { loss: value, penalty: tf.addN(penalties) };
  return { metrics, grads: join(layout, byName) };
}

interface Gradients {
  readonly grads: Named<tf.Tensor>;
  readonly untouched: Untouched;
}

function update(
  { optimizer, maxGradNorm, layout }: StepOptions,
  args: Groups<tf.Tensor>,
  { grads, untouched }: Gradients,
): { trainable: Named<tf.Tensor>; optimizer: Named<tf.Tensor> } {
  const before = group(args, "trainable");
  const { params, state } = optimizer.update({
    params: before,
    grads,
    groups: layout.groups,
    state: group(args, "optimizer"),
    scalars: group(args, "scalars"),
    gradientScale: gradientScale(grads, { maxGradNorm, clip: group(args, "scalars")["clip"] }),
  });
  return {
    trainable: untouched.size === 0 ? params : restoreUntouched(layout, { before, after: params, untouched }),
    optimizer: state,
  };
}

/** `clip` where the norm of all gradients is known already. */
function gradientScale(
  grads: Named<tf.Tensor>,
  { maxGradNorm, clip }: { readonly maxGradNorm: number | null; readonly clip: tf.Tensor | undefined },
): tf.Scalar | null {
  if (clip !== undefined) return clip as tf.Scalar;
  return maxGradNorm === null ? null : clipScale(globalNorm(grads), maxGradNorm);
}

/** Weight decay must not reach parameters without a gradient that lie in a vector beside others. */
function restoreUntouched(
  layout: Layout,
  {
    before,
    after,
    untouched,
  }: { readonly before: Named<tf.Tensor>; readonly after: Named<tf.Tensor>; readonly untouched: Untouched },
): Named<tf.Tensor> {
  const affected = layout.joined.filter(({ members }) => members.some(({ name }) => untouched.has(name)));
  const part = presentIn({ ...layout, joined: affected, single: [] }, after);
  return { ...after, ...join(part, without(split(part, after), untouched), before) };
}

/** The state after the update, from what the optimizer was given: clipped gradients, of parameters that have one. */
function track({ model, layout }: StepOptions, args: Groups<tf.Tensor>, untouched: Untouched): Named<tf.Tensor> {
  const accumulated = group(args, "accumulated");
  const { clip } = group(args, "scalars");
  const gradients = without(split(presentIn(layout, accumulated), accumulated), untouched);
  const tensors = {
    frozen: group(args, "frozen"),
    trainable: split(layout, group(args, "trainable")),
    gradients: clip === undefined ? gradients : mapValues(gradients, (g) => tf.mul(g, clip)),
    state: group(args, "state"),
  };
  return model.track?.(tensors) ?? {};
}

function without<T>(record: Named<T>, names: ReadonlySet<string>): Named<T> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => !names.has(name)));
}

function group(args: Groups<tf.Tensor>, name: string): Named<tf.Tensor> {
  return args[name] ?? {};
}

function mapValues<T, U>(record: Named<T>, fn: (value: T, name: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, fn(value, name)]));
}
