import * as tf from "@tensorflow/tfjs-core";
import type { InnerRule } from "./rule.ts";
import { tensorOf } from "./tensorOf.ts";

/** N = R, without state: with α = 1 at full rank, plain gradient descent. */
export const sgdRule: InnerRule = {
  slots: () => ({}),
  scalars: (_step, learningRate) => ({ learningRate }),
  step: ({ reduced, scalars }) => ({ step: tf.mul(reduced, tensorOf(scalars, "learningRate")), state: {} }),
  carry: () => ({}),
};
