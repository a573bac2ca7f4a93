import type { HostTensor } from "@peftjs/core";
import { gradientCheck } from "@peftjs/testkit";
import * as tf from "@tensorflow/tfjs-core";
import { compareGradients, values } from "./harness.ts";

/** An operation of float32 tensors, with values at which it is smooth: no kink is nearer than the step of the differences. */
export interface GradientCase {
  readonly name: string;
  readonly op: (...inputs: tf.Tensor[]) => tf.Tensor;
  readonly inputs: readonly HostTensor[];
}

type Range = readonly [from: number, to: number];

/** A case on pseudo-random values of `shapes`, from `range`. */
export function gradientCase(
  name: string,
  op: (...inputs: never[]) => tf.Tensor,
  shapes: readonly (readonly number[])[],
  [from, to]: Range = [0.3, 1.7],
): GradientCase {
  const inputs = shapes.map((shape, i) => values(shape, from, to, 11 + i));
  return { name, op: op as GradientCase["op"], inputs };
}

export function tensorOf({ data, shape, dtype }: HostTensor): tf.Tensor {
  return tf.tensor(data.slice(), [...shape], dtype);
}

/** y·w with different weights for all elements: a partial that landed in the wrong place shows. */
function weighted(y: tf.Tensor): tf.Tensor {
  return tf.mul(y, tf.reshape(tf.sin(tf.range(1, y.size + 1)), y.shape));
}

/**
 * The gradient against central differences on the active backend. With a step of 1e-2 the differences of float32 sums of size 10 are
 * good to 1e-4 and those of third derivatives of size 10 to 2e-4: the tolerance of the kit (2e-3, 2 %) leaves room for both.
 */
export function checkDifferences({ op, inputs }: GradientCase): void {
  tf.tidy(() => gradientCheck((...xs) => weighted(op(...xs)), inputs.map(tensorOf)));
}

/** The gradient of the compiled engine against that of the eager one. */
export async function checkCompiled({ op, inputs }: GradientCase): Promise<void> {
  const names = inputs.map((_, i) => `x${i}`);
  await compareGradients(
    (named) => op(...names.map((name) => named[name] as tf.Tensor)),
    Object.fromEntries(names.map((name, i) => [name, inputs[i] as HostTensor])),
  );
}

/** An int32 constant of the operation. */
export function indices(list: readonly number[], shape: readonly number[] = [list.length]): tf.Tensor {
  return tf.tensor([...list], [...shape], "int32");
}
