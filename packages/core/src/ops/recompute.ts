import * as tf from "@tensorflow/tfjs-core";
import { after } from "./after.ts";
import { keepInputs } from "./keepInputs.ts";

/**
 * fn(inputs), of which the backward pass keeps the inputs alone: it calls fn again, on equal inputs, for what the gradient needs
 * (Chen et al. 2016, "Training deep nets with sublinear memory cost"). One more forward run of fn for the memory of all its
 * intermediate results.
 *
 * Gradients flow to `inputs` only: every tensor that fn uses and that has a gradient, or that is made on the way to it, must be
 * among them. What depends on the first one is computed again.
 */
export function recompute<T extends tf.Tensor>(fn: (...inputs: tf.Tensor[]) => T, inputs: readonly tf.Tensor[]): T {
  return keepInputs(inputs, {
    value: fn,
    gradients: (dy, kept) => {
      const [first, ...others] = kept as [tf.Tensor, ...tf.Tensor[]];
      return gradientsOf(fn, [after(first, dy), ...others], dy);
    },
  });
}

function gradientsOf(fn: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const { state } = tf.engine();
  // tfjs has one tape: a gradient inside a backward pass would take the outer one's away.
  const outer = state.activeTape;
  try {
    const { grads } = tf.engine().gradients(() => fn(...inputs), inputs, dy, true);
    return inputs.map((input, i) => (grads[i] as tf.Tensor | undefined) ?? tf.zeros(input.shape));
  } finally {
    state.activeTape = outer;
  }
}
