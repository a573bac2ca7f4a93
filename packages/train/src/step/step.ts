import type { Named } from "@peftjs/core";
import { gate } from "@peftjs/core/internal";
import type { Groups, TensorFunction } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";
import type { TrainableModel } from "../model.ts";
import { globalNorm } from "../optim/clip.ts";
import { get, keyed, tensorsOf } from "../optim/tensors.ts";
import { join, namesFrom, presentIn, ruled, split } from "./layout.ts";
import { openName } from "./tags.ts";
import { choose, updated } from "./update.ts";
import type { UpdateInput, UpdateOptions } from "./update.ts";

/** What runs again in the backward pass instead of being kept. */
export type Recompute = "none" | "blocks";

/** `layout`: how the groups `trainable`, `optimizer` and `accumulated` hold the parameters. */
export interface StepOptions extends UpdateOptions {
  readonly model: TrainableModel;
  /** Whether the model's blocks keep their inputs alone for the backward pass. */
  readonly recompute: Recompute;
}

/** The parts of a step that contain its backward pass, for steps in which no block before `from` learns. */
export interface GradientFunctions {
  /**
   * One whole training step: `{ frozen, trainable, optimizer, batch, scalars, scales }` → `{ trainable, optimizer, metrics: { loss,
   * gradNorm, penalty } }`, the last where a method has one. `scalars` holds `key` (int32 [2]), what the optimizer and rules ask for,
   * and whether blocks learn (`openName`).
   */
  readonly full: TensorFunction;
  /**
   * The first half of a step over several micro-batches: `accumulated` + share·∇loss and its norm, where `scalars.share` is the
   * micro-batch's part of the step's total weight, so that the sum is the gradient of the weighted mean over all rows.
   */
  readonly accumulate: TensorFunction;
  /** The first half of a step in parts: `{ frozen, trainable, batch, scalars }` → `{ accumulated, metrics }`. */
  readonly gradients: TensorFunction;
  /** What rules that reduce gradients ask for instead of them, where `due` is 1: → `{ sketch }` by `<name>.<key>`. */
  readonly sketch: TensorFunction;
}

export interface UpdateFunctions {
  /** The second half, for all tensors or some: `scalars.clip` multiplies the gradients. Runs after `gradients` or `accumulate`. */
  readonly apply: TensorFunction;
  /** After the update, with the gradients of the first half: `{ frozen, trainable, accumulated, scalars, state }` → `{ state }`. */
  readonly track: TensorFunction;
}

export interface StepFunctions extends UpdateFunctions {
  from(block: number): GradientFunctions;
}

/** What a loss depends on follows from the model alone; `apply` learns it when the first half is traced. */
type Untouched = Set<string>;

/** Tensor functions of a step. Tensors that the loss does not depend on are not among the results. */
export function stepFunctions(options: StepOptions): StepFunctions {
  const untouched: Untouched = new Set();
  return {
    from: (from) => gradientFunctions({ ...options, from, untouched }),
    apply: (args) => {
      const { params, state } = updated(
        { ...options, maxGradNorm: null },
        { ...updateInput(args), grads: group(args, "accumulated"), untouched },
      );
      return { trainable: params, optimizer: state };
    },
    track: (args) => ({ state: track(options, args, untouched) }),
  };
}

interface GradientOptions extends StepOptions {
  readonly from: number;
  readonly untouched: Untouched;
}

function gradientFunctions(options: GradientOptions): GradientFunctions {
  const { layout, untouched } = options;
  return {
    full: (args) => {
      const { metrics, grads } = lossAndGradients(options, args);
      const norm = globalNorm(grads);
      const input = { ...updateInput(args), grads: reduced(layout, args, grads), norm, untouched };
      const { params, state } = updated(options, input);
      return { trainable: params, optimizer: state, metrics: { ...metrics, gradNorm: norm } };
    },
    accumulate: (args) => {
      const { metrics, grads } = lossAndGradients(options, args);
      const share = get(group(args, "scalars"), "share");
      const before = group(args, "accumulated");
      const sum = (g: tf.Tensor, name: string): tf.Tensor => tf.add(get(before, name), tf.mul(g, share));
      const accumulated = mapValues(reduced(layout, args, grads), sum);
      return { accumulated, metrics: { ...metrics, gradNorm: globalNorm(accumulated) } };
    },
    gradients: (args) => {
      const { metrics, grads } = lossAndGradients(options, args);
      return { accumulated: reduced(layout, args, grads), metrics: { ...metrics, gradNorm: globalNorm(grads) } };
    },
    sketch: (args) => {
      const { grads } = lossAndGradients(options, args);
      const due = group(args, "due");
      const sketches = ruled(layout).flatMap(([key, rule]) => {
        const [gradient, open] = [grads[key], due[key]];
        if (gradient === undefined || open === undefined) return [];
        const own = rule.sketch?.(gradient, tensorsOf(due, key)) ?? {};
        return Object.entries(keyed(own, key)).map(([name, value]) => [name, gate(value, open as tf.Scalar)] as const);
      });
      return { sketch: Object.fromEntries(sketches) };
    },
  };
}

interface LossAndGradients {
  /** `loss`, and `penalty` where a method has one. */
  readonly metrics: Named<tf.Tensor>;
  /** Whole gradients; zeros of blocks that pause. */
  readonly grads: Named<tf.Tensor>;
}

function lossAndGradients(
  { model, layout, recompute, from, untouched }: GradientOptions,
  args: Groups<tf.Tensor>,
): LossAndGradients {
  const trainable = split(layout, group(args, "trainable"));
  const scalars = group(args, "scalars");
  const key = get(scalars, "key") as tf.Tensor1D;
  const mode = { training: true, key, recompute: recompute === "blocks", learnsFrom: from };
  const parameters = { frozen: group(args, "frozen"), trainable };
  const compute = (): tf.Scalar => model.loss(parameters, group(args, "batch"), mode);
  const metricsOf = (loss: tf.Tensor): Named<tf.Tensor> => {
    const penalties = [...(model.penalties?.(parameters) ?? [])];
    return penalties.length === 0 ? { loss } : { loss, penalty: tf.addN(penalties) };
  };
  // What is not asked for is not computed: nothing that leads to a gradient of the blocks before `from`.
  const learning = [...namesFrom(layout, from)];
  // A step may leave out every block of a model without a head that learns.
  if (learning.length === 0) return { metrics: metricsOf(compute()), grads: {} };
  // tf.valueAndGrads refuses a parameter that the loss does not depend on; the engine underneath reports it as undefined.
  const { value, grads } = tf.engine().gradients(
    compute,
    learning.map((name) => get(trainable, name)),
  );
  const byName: Record<string, tf.Tensor> = {};
  learning.forEach((name, i) => {
    const gradient = grads[i] as tf.Tensor | undefined | null;
    if (gradient === undefined || gradient === null) untouched.add(name);
    else byName[name] = gradient;
  });
  const gated = (gradient: tf.Tensor, name: string): tf.Tensor => {
    const block = layout.blocks[name];
    const open = block === undefined ? undefined : scalars[openName(block)];
    return open === undefined ? gradient : gate(gradient, open as tf.Scalar);
  };
  return { metrics: metricsOf(value), grads: mapValues(join(layout, byName), gated) };
}

/** What leaves the gradients' program: of parameters whose rule reduces gradients, the reduced ones. */
function reduced({ rules }: StepOptions["layout"], args: Groups<tf.Tensor>, grads: Named<tf.Tensor>): Named<tf.Tensor> {
  const state = group(args, "optimizer");
  return mapValues(grads, (gradient, key) => rules[key]?.reduce?.(gradient, tensorsOf(state, key)) ?? gradient);
}

function updateInput(args: Groups<tf.Tensor>): Pick<UpdateInput, "params" | "state" | "scalars" | "scales"> {
  return {
    params: group(args, "trainable"),
    state: group(args, "optimizer"),
    scalars: group(args, "scalars"),
    scales: group(args, "scales"),
  };
}

/** The state after the update, from what the optimizer was given: clipped gradients, of parameters that have one. */
function track({ model, layout }: StepOptions, args: Groups<tf.Tensor>, untouched: Untouched): Named<tf.Tensor> {
  const accumulated = group(args, "accumulated");
  const scalars = group(args, "scalars");
  const { clip } = scalars;
  const gradients = without(split(presentIn(layout, accumulated), accumulated), untouched);
  const tensors = {
    frozen: group(args, "frozen"),
    trainable: split(layout, group(args, "trainable")),
    gradients: clip === undefined ? gradients : mapValues(gradients, (g) => tf.mul(g, clip)),
    state: group(args, "state"),
  };
  // What methods keep of a block pauses with it.
  return mapValues(model.track?.(tensors) ?? {}, (value, key) => {
    const open = scalars[openName(model.plugins?.blockOf(key) ?? -1)];
    return open === undefined ? value : choose(open, value, get(tensors.state, key));
  });
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
