import type { Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { clipScale, globalNorm } from "../optim/clip.ts";
import { scaledUpdate } from "../optim/elementScale.ts";
import type { Optimizer, Update } from "../optim/optimizer.ts";
import { get, keyed, tensorsOf } from "../optim/tensors.ts";
import { join, presentIn, split } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { blockTag, openName, ruleTag, untagged } from "./tags.ts";

export interface UpdateOptions {
  readonly optimizer: Optimizer;
  readonly layout: Layout;
  /** Bound on the global gradient norm; null: gradients are used as they are. */
  readonly maxGradNorm: number | null;
}

export interface UpdateInput {
  readonly params: Named<tf.Tensor>;
  readonly state: Named<tf.Tensor>;
  readonly scalars: Named<tf.Tensor>;
  readonly grads: Named<tf.Tensor>;
  /** Factors of the update of each element. */
  readonly scales: Named<tf.Tensor>;
  /** Norm of the whole gradients. Not needed when `scalars` has `clip`. */
  readonly norm?: tf.Scalar | undefined;
  /** Parameters that the loss does not depend on. */
  readonly untouched: ReadonlySet<string>;
}

/** Traced: what has a gradient, updated by its rule or the optimizer; what pauses in this step keeps its values. */
export function updated({ optimizer, layout, maxGradNorm }: UpdateOptions, input: UpdateInput): Update {
  const { params, grads, state, scalars } = input;
  const gradientScale = scaleOf(input, maxGradNorm);
  const results: Update[] = [];
  for (const [key, rule] of Object.entries(layout.rules)) {
    const gradient = grads[key];
    if (gradient === undefined) continue;
    const own = { state: tensorsOf(state, key), scalars: untagged(scalars, ruleTag(key)) };
    const result = rule.update({ parameter: get(params, key), gradient, gradientScale, ...own });
    results.push({ params: { [key]: result.parameter }, state: keyed(result.state, key) });
  }
  for (const [block, keys] of byBlock(layout, grads)) {
    const own = Object.fromEntries(keys.map((key) => [key, get(grads, key)]));
    const numbers = untagged(scalars, block === null ? null : blockTag(block));
    results.push(
      optimizer.update({ params, grads: own, groups: layout.groups, state, scalars: numbers, gradientScale }),
    );
  }
  const after: Update = {
    params: scaledByElement(Object.assign({}, ...results.map((result) => result.params)) as Update["params"], input),
    state: Object.assign({}, ...results.map((result) => result.state)) as Update["state"],
  };
  return pausing(layout, {
    before: { params, state },
    after: restored(layout, params, after, input.untouched),
    scalars,
  });
}

function scaledByElement(after: Named<tf.Tensor>, { params, scales }: UpdateInput): Named<tf.Tensor> {
  const scaled = Object.entries(scales).flatMap(([key, scale]) => {
    const tensor = after[key];
    return tensor === undefined
      ? []
      : [[key, scaledUpdate({ before: get(params, key), after: tensor, scale })] as const];
  });
  return { ...after, ...Object.fromEntries(scaled) };
}

/** The factor of all gradients: `clip` where their norm is known already. */
function scaleOf({ scalars, grads, norm }: UpdateInput, maxGradNorm: number | null): tf.Scalar | null {
  const { clip } = scalars;
  if (clip !== undefined) return clip as tf.Scalar;
  return maxGradNorm === null ? null : clipScale(norm ?? globalNorm(grads), maxGradNorm);
}

/** Keys that the optimizer updates, by the block whose counter they follow; null: that of the run. */
function byBlock({ blocks, rules }: Layout, grads: Named<tf.Tensor>): Map<number | null, string[]> {
  const groups = new Map<number | null, string[]>();
  for (const key of Object.keys(grads)) {
    if (rules[key] !== undefined) continue;
    const block = blocks[key] ?? null;
    groups.set(block, [...(groups.get(block) ?? []), key]);
  }
  return groups;
}

/** Weight decay must not reach parameters without a gradient that lie in a vector beside others. */
function restored(layout: Layout, before: Named<tf.Tensor>, after: Update, untouched: ReadonlySet<string>): Update {
  if (untouched.size === 0) return after;
  const affected = layout.joined.filter(({ members }) => members.some(({ name }) => untouched.has(name)));
  const part = presentIn({ ...layout, joined: affected, single: [] }, after.params);
  const kept = Object.entries(split(part, after.params)).filter(([name]) => !untouched.has(name));
  return { ...after, params: { ...after.params, ...join(part, Object.fromEntries(kept), before) } };
}

/** Values of closed blocks stay what they were, bit for bit. A choice, not a product: what is not chosen may be NaN. */
function pausing(
  { blocks, joined, single }: Layout,
  { before, after, scalars }: { readonly before: Update; readonly after: Update; readonly scalars: Named<tf.Tensor> },
): Update {
  const keys = [...joined.map(({ key }) => key), ...single].filter((key) => blocks[key] !== undefined);
  const params: Record<string, tf.Tensor> = { ...after.params };
  const state: Record<string, tf.Tensor> = { ...after.state };
  for (const key of keys) {
    const open = scalars[openName(blocks[key] as number)];
    if (open === undefined || params[key] === undefined) continue;
    params[key] = choose(open, params[key], get(before.params, key));
    for (const [name, value] of Object.entries(keyed(tensorsOf(after.state, key), key)))
      state[name] = choose(open, value, get(before.state, name));
  }
  return { params, state };
}

/** a where `open` is not 0, else b. */
export function choose(open: tf.Tensor, a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  return tf.where(tf.notEqual(open, 0), a, b);
}
