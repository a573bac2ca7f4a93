import * as tf from "@tensorflow/tfjs-core";
import type { InnerRule } from "./rule.ts";
import { tensorOf } from "./tensorOf.ts";

export interface AdafactorRuleOptions {
  /** Momentum of the step; null has none. */
  readonly beta1: number | null;
}

const DECAY = -0.8;
const EPSILON = 1e-30;
const CLIP = 1;

/**
 * Adafactor on R with an external learning rate (Shazeer & Stern 2018, algorithm 4): β₂ₜ = 1 − t^−0.8, row and column means a [m], b [n] of
 * R² + 1e-30, each with memory β₂ₜ; U = R∘(a/mean(a))^−½∘b^−½, U ← U/max(1, rms(U)), S = η·U; with β₁: M ← β₁M + (1 − β₁)S, S = M.
 */
export function adafactorRule({ beta1 }: AdafactorRuleOptions): InnerRule {
  return {
    slots: ([rows, columns]) => ({
      rows: { shape: [rows], dtype: "float32" },
      columns: { shape: [columns], dtype: "float32" },
      ...(beta1 !== null && { m: { shape: [rows, columns], dtype: "float32" } }),
    }),
    scalars: (step, learningRate) => ({ learningRate, memory: 1 - step ** DECAY }),
    step: ({ reduced, state, scalars }) => {
      const memory = tensorOf(scalars, "memory");
      const squared = tf.add(tf.square(reduced), EPSILON);
      const remembered = (name: string, axis: number): tf.Tensor1D =>
        tf.add(tf.mul(tensorOf(state, name), memory), tf.mul(tf.mean(squared, axis), tf.sub(1, memory)));
      const rows = remembered("rows", 1);
      const columns = remembered("columns", 0);
      const byRow = tf.reshape(tf.rsqrt(tf.div(rows, tf.mean(rows))), [-1, 1]);
      const raw = tf.mul(tf.mul(reduced, byRow), tf.rsqrt(columns));
      const rms = tf.sqrt(tf.mean(tf.square(raw)));
      const limited = tf.div(raw, tf.maximum(tf.div(rms, CLIP), 1));
      const step: tf.Tensor2D = tf.mul(limited, tensorOf(scalars, "learningRate"));
      if (beta1 === null) return { step, state: { rows, columns } };
      const m: tf.Tensor2D = tf.add(tf.mul(tensorOf(state, "m"), beta1), tf.mul(step, 1 - beta1));
      return { step: m, state: { rows, columns, m } };
    },
  };
}
