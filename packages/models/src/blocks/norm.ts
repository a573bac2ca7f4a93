import { layerNorm, type Forward } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";

/** Layer normalisation with the parameters of the module at `path`: y = γ·(x − μ)/√(σ² + ε) + β. */
export function norm<T extends tf.Tensor>(f: Forward, path: string, x: T, epsilon: number): T {
  return layerNorm(x, f.parameter(`${path}.weight`), f.parameter(`${path}.bias`), epsilon);
}
