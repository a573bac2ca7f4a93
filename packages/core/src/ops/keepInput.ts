import * as tf from "@tensorflow/tfjs-core";
import { composite } from "./composite.ts";

/** f: ℝ → ℝ and its derivative, applied to every element. */
export interface ScalarFunction {
  /** Kernel of f where the backend has one; that of (∂y, x) ↦ ∂y·f′(x) is `${kernel}Grad`. */
  readonly kernel: string;
  readonly attributes?: Readonly<Record<string, number>>;
  readonly value: (x: tf.Tensor) => tf.Tensor;
  readonly slope: (x: tf.Tensor) => tf.Tensor;
}

/** What `tf.customGrad` hands to its function: keeps tensors for the backward pass. */
export type Save = (tensors: tf.Tensor[]) => void;

/** y = f(x), of which the backward pass keeps x alone and computes f′ from it: ∂x = ∂y·f′(x). */
export function keepInput<T extends tf.Tensor>(x: T, { kernel, attributes = {}, value, slope }: ScalarFunction): T {
  const op = tf.customGrad((...args: (tf.Tensor | Save)[]) => {
    const [input, save] = args as [tf.Tensor, Save];
    save([input]);
    return {
      value: composite(kernel, { x: input }, attributes, () => value(input)),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const kept = saved[0] as tf.Tensor;
        return composite(`${kernel}Grad`, { dy, x: kept }, attributes, () => tf.mul(dy, slope(kept)));
      },
    };
  });
  return op(x) as T;
}
