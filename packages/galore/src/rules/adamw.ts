import * as tf from "@tensorflow/tfjs-core";
import { perAxis, project } from "../projection.ts";
import type { MomentStorage } from "./moments.ts";
import type { InnerRule } from "./rule.ts";
import { tensorOf } from "./tensorOf.ts";

export interface AdamWRuleOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Whether ε is added before bias correction (the published code) or after it (torch). */
  readonly epsMode: "uncorrected" | "corrected";
  readonly storage: MomentStorage;
}

/**
 * Adam on R (Zhao et al. 2024, algorithm 2; Kingma & Ba 2015): M ← β₁M + (1 − β₁)R, V ← β₂V + (1 − β₂)R², with c = √(1 − β₂ᵗ)
 * η·N = η·c/(1 − β₁ᵗ)·M/(√V + ε); `corrected` adds ε after bias correction, which is ε·c here. R, M, V [m, r], [r, n] or [r, r].
 */
export function adamwRule({ beta1, beta2, epsilon, epsMode, storage }: AdamWRuleOptions): InnerRule {
  return {
    slots: (reduced) => ({
      ...storage.slots("m", reduced),
      ...storage.slots("v", reduced),
    }),
    scalars: (step, learningRate) => {
      const correction = Math.sqrt(1 - beta2 ** step);
      return {
        learningRate,
        stepSize: (learningRate * correction) / (1 - beta1 ** step),
        epsilon: epsMode === "corrected" ? epsilon * correction : epsilon,
      };
    },
    step: ({ reduced, state, scalars }) => {
      const { shape } = reduced;
      const m: tf.Tensor2D = tf.add(tf.mul(storage.read("m", state, shape), beta1), tf.mul(reduced, 1 - beta1));
      const v: tf.Tensor2D = tf.add(
        tf.mul(storage.read("v", state, shape), beta2),
        tf.mul(tf.square(reduced), 1 - beta2),
      );
      const normalized = tf.div(m, tf.add(tf.sqrt(v), tensorOf(scalars, "epsilon")));
      return {
        step: tf.mul(normalized, tensorOf(scalars, "stepSize")),
        state: { ...storage.write("m", m), ...storage.write("v", v) },
      };
    },
    carry: (state, { reduced, turns }) => ({
      ...storage.write("m", project(storage.read("m", state, reduced), turns)),
      ...storage.write(
        "v",
        project(
          storage.read("v", state, reduced),
          perAxis(turns, (turn) => tf.square(turn)),
        ),
      ),
    }),
  };
}
