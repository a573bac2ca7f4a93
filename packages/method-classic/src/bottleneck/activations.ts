import { gelu, geluTanh, silu } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** Names of the element-wise function between the two matrices, as adapter_config.json spells them. */
export const nonLinearities = [
  "tanh",
  "relu",
  "leakyrelu",
  "elu",
  "sigmoid",
  "gelu",
  "gelu_new",
  "quick_gelu",
  "silu",
  "swish",
  "linear",
] as const;
export type NonLinearity = (typeof nonLinearities)[number];

const functions: Readonly<Record<NonLinearity, (x: tf.Tensor2D) => tf.Tensor2D>> = {
  tanh: (x) => tf.tanh(x),
  relu: (x) => tf.relu(x),
  // torch's slope.
  leakyrelu: (x) => tf.leakyRelu(x, 0.01),
  elu: (x) => tf.elu(x),
  sigmoid: (x) => tf.sigmoid(x),
  gelu,
  gelu_new: geluTanh,
  quick_gelu: (x) => silu(x, 1.702),
  silu: (x) => silu(x),
  swish: (x) => silu(x),
  linear: (x) => x,
};

/** y = act(x), element by element. */
export function activate(x: tf.Tensor2D, name: NonLinearity): tf.Tensor2D {
  return functions[name](x);
}
