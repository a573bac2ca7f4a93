import { PeftError } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { resolveGroup } from "./groups.ts";
import type { Optimizer, ParamGroupRule } from "./optimizer.ts";
import { get, scalar } from "./tensors.ts";

export interface SgdOptions {
  readonly momentum?: number;
  readonly nesterov?: boolean;
  /** Added to the gradient (coupled, as in torch). */
  readonly weightDecay?: number;
  readonly paramGroups?: ParamGroupRule | undefined;
}

/**
 * Stochastic gradient descent (torch.optim.SGD): g ← g + λp, b ← μb + g, p ← p − η·b; with Nesterov p ← p − η(g + μb).
 * Without momentum there is no state.
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const { momentum = 0, nesterov = false, weightDecay = 0, paramGroups } = options;
  if (nesterov && momentum === 0) {
    throw new PeftError("CONFIG_INVALID", "Nesterov's method needs momentum > 0, got 0. Set momentum, e.g. 0.9.");
  }
  return {
    name: "sgd",
    elementwise: true,
    slots: momentum === 0 ? [] : ["b"],
    group: (parameter) => resolveGroup(parameter, { weightDecay, rule: paramGroups }),
    scalars: (_step, learningRate) => ({ learningRate: scalar(learningRate) }),
    update: (context) => {
      const learningRate = get(context.scalars, "learningRate");
      const params: Record<string, tf.Tensor> = {};
      const state: Record<string, tf.Tensor> = {};
      for (const [name, raw] of Object.entries(context.grads)) {
        const p = get(context.params, name);
        const group = get(context.groups, name);
        const scaled = context.gradientScale === null ? raw : tf.mul(raw, context.gradientScale);
        const g = group.weightDecay === 0 ? scaled : tf.add(scaled, tf.mul(p, group.weightDecay));
        let direction = g;
        if (momentum !== 0) {
          const b = tf.add(tf.mul(get(context.state, `b.${name}`), momentum), g);
          state[`b.${name}`] = b;
          direction = nesterov ? tf.add(g, tf.mul(b, momentum)) : b;
        }
        const rate = group.lrScale === 1 ? learningRate : tf.mul(learningRate, group.lrScale);
        params[name] = tf.sub(p, tf.mul(direction, rate));
      }
      return { params, state };
    },
  };
}
