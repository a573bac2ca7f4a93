import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";
import { keepInputs } from "./keepInputs.ts";

/** f: ℝ → ℝ and its derivative, applied to every element. */
export interface ScalarFunction {
  /** Kernel of f where the backend has one; that of (∂y, x) ↦ ∂y·f′(x) is `${kernel}Grad`. */
  readonly kernel: string;
  readonly attributes?: Readonly<Record<string, number>>;
  readonly value: (x: tf.Tensor) => tf.Tensor;
  readonly slope: (x: tf.Tensor) => tf.Tensor;
}

/** y = f(x), of which the backward pass keeps x alone and computes f′ from it: ∂x = ∂y·f′(x). */
export function keepInput<T extends tf.Tensor>(x: T, { kernel, attributes = {}, value, slope }: ScalarFunction): T {
  return keepInputs([x], {
    value: (input) => composite(kernel, { x: input }, attributes, () => value(input)),
    gradients: (dy, [kept]) => [composite(`${kernel}Grad`, { dy, x: kept }, attributes, () => tf.mul(dy, slope(kept)))],
  });
}
