import * as tf from "@tensorflow/tfjs-core";
import { resolveGroup } from "./groups.ts";
import type { Optimizer, ParamGroup, ParamGroupRule, UpdateContext } from "./optimizer.ts";
import { get, scalar } from "./tensors.ts";

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Of parameters that are neither bias nor norm. */
  readonly weightDecay?: number;
  readonly paramGroups?: ParamGroupRule | undefined;
}

/** Scalars of one parameter group in one step. */
interface Rates {
  /** lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ). */
  readonly stepSize: tf.Tensor;
  /** 1 − lr·λ; null without decay. */
  readonly keep: tf.Tensor | null;
}

/**
 * AdamW (Loshchilov & Hutter 2019, alg. 2; torch.optim.AdamW):
 * m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← (1 − ηλ)p − η·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε).
 *
 * Both corrections are moved out of the element-wise part: with c = √(1 − β₂ᵗ) the last term is
 * (η·c/(1 − β₁ᵗ))·m / (√v + ε·c), thirteen operations per tensor.
 */
export function adamW(options: AdamWOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.01, paramGroups } = options;
  return {
    name: "adamw",
    elementwise: true,
    slots: ["m", "v"],
    group: (parameter) => resolveGroup(parameter, { weightDecay, rule: paramGroups }),
    scalars: (step, learningRate) => {
      const correction = Math.sqrt(1 - beta2 ** step);
      return {
        learningRate: scalar(learningRate),
        stepSize: scalar((learningRate * correction) / (1 - beta1 ** step)),
        epsilon: scalar(epsilon * correction),
      };
    },
    update: (context) => {
      const rates = ratesOf(context.scalars);
      const mix = mixing(context.gradientScale, beta1, beta2);
      const params: Record<string, tf.Tensor> = {};
      const state: Record<string, tf.Tensor> = {};
      for (const [name, g] of Object.entries(context.grads)) {
        const p = get(context.params, name);
        const { stepSize, keep } = rates(get(context.groups, name));
        const m = tf.add(tf.mul(get(context.state, `m.${name}`), beta1), tf.mul(g, mix.first));
        const v = tf.add(tf.mul(get(context.state, `v.${name}`), beta2), tf.mul(tf.square(g), mix.second));
        const direction = tf.div(m, tf.add(tf.sqrt(v), get(context.scalars, "epsilon")));
        params[name] = tf.sub(keep === null ? p : tf.mul(p, keep), tf.mul(direction, stepSize));
        state[`m.${name}`] = m;
        state[`v.${name}`] = v;
      }
      return { params, state };
    },
  };
}

/** (1 − β₁)·s and (1 − β₂)·s² for gradients scaled by s. */
function mixing(
  scale: tf.Scalar | null,
  beta1: number,
  beta2: number,
): { first: tf.Tensor | number; second: tf.Tensor | number } {
  if (scale === null) return { first: 1 - beta1, second: 1 - beta2 };
  return { first: tf.mul(scale, 1 - beta1), second: tf.mul(tf.square(scale), 1 - beta2) };
}

/** Group scalars, computed once per distinct group. */
function ratesOf(scalars: UpdateContext["scalars"]): (group: ParamGroup) => Rates {
  const cache = new Map<string, Rates>();
  return (group) => {
    const id = `${group.lrScale}/${group.weightDecay}`;
    const found = cache.get(id);
    if (found !== undefined) return found;
    const learningRate = get(scalars, "learningRate");
    const stepSize = get(scalars, "stepSize");
    const rates: Rates = {
      stepSize: group.lrScale === 1 ? stepSize : tf.mul(stepSize, group.lrScale),
      keep: group.weightDecay === 0 ? null : tf.sub(1, tf.mul(learningRate, group.lrScale * group.weightDecay)),
    };
    cache.set(id, rates);
    return rates;
  };
}
