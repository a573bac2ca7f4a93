import { registerLowering } from "@peftjs/engine";
import * as tf from "@tensorflow/tfjs-core";

/** The kernel's name: ours to choose, as long as tfjs has no kernel of that name. */
const KERNEL = "HardSwish";

/**
 * Teaches the compiled engine the kernel: the result has the shape and type of x, and ONNX has an operator for it.
 * Programs that are built from now on know it. Returns a function that takes it away again.
 */
export function registerHardSwish(): () => void {
  return registerLowering({
    name: KERNEL,
    infer: (call) => [call.input("x")],
    lower: ({ args, emit }) => [emit.op("HardSwish", args)],
  });
}

/** y = x·min(max(x/6 + 1/2, 0), 1) (Howard et al. 2019, section 5.2). x has any shape. */
export function hardSwish<T extends tf.Tensor>(x: T): T {
  // tfjs's type of the function that customGrad takes says less than what it calls it with.
  const withGradient = tf.customGrad((...given: unknown[]) => {
    const [input, save] = given as [tf.Tensor, tf.GradSaveFunc];
    save([input]);
    return {
      value: forward(input),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(dy, slope(saved[0] as tf.Tensor)),
    };
  });
  return withGradient(x) as T;
}

/** One kernel where the active backend has it, which the compiled engine's then has; ordinary operations elsewhere. */
function forward(x: tf.Tensor): tf.Tensor {
  if (tf.getKernel(KERNEL, tf.getBackend()) !== undefined) return tf.engine().runKernel(KERNEL, { x });
  return tf.mul(x, tf.clipByValue(tf.add(tf.div(x, 6), 0.5), 0, 1));
}

/** dy/dx: x/3 + 1/2 between −3 and 3, 0 below, 1 above. Written with operations that both engines know. */
function slope(x: tf.Tensor): tf.Tensor {
  return tf.where(tf.lessEqual(tf.abs(x), 3), tf.add(tf.div(x, 3), 0.5), tf.step(x));
}
