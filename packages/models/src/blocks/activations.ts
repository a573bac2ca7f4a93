import { gelu, geluTanh, PeftError, recompute, silu } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

type Activation = <T extends tf.Tensor>(x: T) => T;

const activations: Readonly<Record<string, Activation>> = {
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  gelu_fast: geluTanh,
  gelu_accurate: geluTanh,
  quick_gelu: (x) => silu(x, 1.702),
  silu: (x) => silu(x),
  swish: (x) => silu(x),
  relu: (x) => tf.relu(x),
  relu2: (x) => tf.square(tf.relu(x)),
  tanh: (x) => tf.tanh(x),
  sigmoid: (x) => tf.sigmoid(x),
  // Its gradient would keep three tensors as large as x.
  mish: (x) => recompute(softplusTanh, [x]) as typeof x,
  linear: (x) => x,
};

function softplusTanh(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.tanh(tf.softplus(x)));
}

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
