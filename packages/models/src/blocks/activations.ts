import { gelu, PeftError } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

type Activation = <T extends tf.Tensor>(x: T) => T;

/** ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))): the tanh approximation, up to 4.73e-4 away from the exact function. */
function geluTanh<T extends tf.Tensor>(x: T): T {
  const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.square(x)))));
  return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(inner)));
}

const silu: Activation = (x) => tf.mul(x, tf.sigmoid(x));

const activations: Readonly<Record<string, Activation>> = {
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_fast: geluTanh,
  gelu_accurate: geluTanh,
  quick_gelu: (x) => tf.mul(x, tf.sigmoid(tf.mul(1.702, x))),
  silu,
  swish: silu,
  relu: (x) => tf.relu(x),
  relu2: (x) => tf.square(tf.relu(x)),
  tanh: (x) => tf.tanh(x),
  sigmoid: (x) => tf.sigmoid(x),
  mish: (x) => tf.mul(x, tf.tanh(tf.softplus(x))),
  linear: (x) => x,
};

/** The names `activation` knows: the values of `hidden_act`. */
export const activationNames: readonly string[] = Object.keys(activations);

/** Activation by its name in config.json. Throws `CONFIG_INVALID` for an unknown one. */
export function activation(name: string): Activation {
  const found = Object.hasOwn(activations, name) ? activations[name] : undefined;
  if (found === undefined) {
    throw new PeftError(
      "CONFIG_INVALID",
      `hidden_act is "${name}"; expected one of ${activationNames.join(", ")}. Check config.json.`,
    );
  }
  return found;
}
