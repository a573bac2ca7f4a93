import type { Named, TensorSpec } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import { dequantize8, quantize8, quantizedSlots } from "../quantise/dynamic8.ts";
import { tensorOf } from "./tensorOf.ts";

/** The mean of gradients, which has signs, and that of squared ones, which has none. */
type Moment = "m" | "v";

/** How moments lie in state tensors. `read` and `write` are traceable. */
export interface MomentStorage {
  slots(moment: Moment, reduced: readonly [number, number]): Readonly<Record<string, TensorSpec>>;
  read(moment: Moment, state: Named<tf.Tensor>, reduced: readonly [number, number]): tf.Tensor2D;
  write(moment: Moment, value: tf.Tensor2D): Named<tf.Tensor>;
}

/** As they are. */
export const whole: MomentStorage = {
  slots: (moment, shape) => ({ [moment]: { shape, dtype: "float32" } }),
  read: (moment, state) => tensorOf(state, moment),
  write: (moment, value) => ({ [moment]: value }),
};

/** Smaller ones stay whole. */
const MIN_QUANTIZED = 4096;

/** One byte a number, for moments of 4096 numbers and more. */
export const inBytes: MomentStorage = {
  slots: (moment, shape) => {
    if (isSmall(shape)) return whole.slots(moment, shape);
    const { codes, scales } = quantizedSlots(shape);
    return { [`${moment}.codes`]: codes, [`${moment}.scales`]: scales };
  },
  read: (moment, state, shape) => {
    if (isSmall(shape)) return whole.read(moment, state, shape);
    const [codes, scales] = [
      tensorOf<tf.Tensor2D>(state, `${moment}.codes`),
      tensorOf<tf.Tensor1D>(state, `${moment}.scales`),
    ];
    return dequantize8({ codes, scales }, { shape, signed: moment === "m" });
  },
  write: (moment, value) => {
    if (isSmall(value.shape)) return whole.write(moment, value);
    const { codes, scales } = quantize8(value, { signed: moment === "m" });
    return { [`${moment}.codes`]: codes, [`${moment}.scales`]: scales };
  },
};

function isSmall([rows, columns]: readonly [number, number]): boolean {
  return rows * columns < MIN_QUANTIZED;
}
