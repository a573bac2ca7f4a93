import type * as tf from "@tensorflow/tfjs-core";
import { gradient, zeros } from "./definition.ts";

/** Kernels whose results are constant almost everywhere, with their inputs. */
const PIECEWISE_CONSTANT: Readonly<Record<string, readonly string[]>> = {
  Equal: ["a", "b"],
  NotEqual: ["a", "b"],
  Greater: ["a", "b"],
  GreaterEqual: ["a", "b"],
  Less: ["a", "b"],
  LessEqual: ["a", "b"],
  LogicalAnd: ["a", "b"],
  LogicalOr: ["a", "b"],
  LogicalNot: ["x"],
  BitwiseAnd: ["a", "b"],
  All: ["x"],
  Any: ["x"],
  ArgMax: ["x"],
  ArgMin: ["x"],
  FloorDiv: ["a", "b"],
  SearchSorted: ["sortedSequence", "values"],
};

/** Zero for every input, so that a function may branch on what it computes: where(greater(x, 0), x·x, x). */
export const ZERO: readonly tf.GradConfig[] = Object.entries(PIECEWISE_CONSTANT).map(([kernel, inputs]) =>
  gradient({ kernel, inputs }, (_, saved) =>
    Object.fromEntries(inputs.map((name) => [name, () => zeros((saved[name] as tf.Tensor).shape)])),
  ),
);
