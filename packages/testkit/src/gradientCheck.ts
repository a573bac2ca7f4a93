import * as tf from "@tensorflow/tfjs-core";
import { tol, worstDifference, type Tolerance } from "./close.ts";

export interface GradientCheckOptions {
  /** Step of the central difference. Default 1e-2: float32 values leave no room for less. */
  readonly step?: number;
  readonly tolerance?: Tolerance;
}

/**
 * Compares tfjs's gradient of a scalar function with (f(x + h) − f(x − h)) / 2h, element by element of every input.
 * @throws Error naming the input, the element and both values.
 */
export function gradientCheck(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: readonly tf.Tensor[],
  { step = 1e-2, tolerance = tol.finiteDifference }: GradientCheckOptions = {},
): void {
  tf.tidy(() => {
    const scalar = (...xs: tf.Tensor[]): tf.Scalar => tf.sum(f(...xs)) as tf.Scalar;
    const gradients = tf.grads(scalar)([...inputs]);
    inputs.forEach((input, position) => {
      const analytic = Array.from((gradients[position] as tf.Tensor).dataSync());
      const numeric = differences({ scalar, inputs, position, step });
      const worst = worstDifference(analytic, numeric, tolerance);
      if (worst === null) return;
      throw new Error(
        `Gradient of input ${position} [${input.shape.join(", ")}], element ${worst.index}: ${worst.actual}, finite differences say ${worst.expected}.`,
      );
    });
  });
}

interface DifferenceOptions {
  readonly scalar: (...xs: tf.Tensor[]) => tf.Scalar;
  readonly inputs: readonly tf.Tensor[];
  readonly position: number;
  readonly step: number;
}

function differences({ scalar, inputs, position, step }: DifferenceOptions): number[] {
  const input = inputs[position] as tf.Tensor;
  const values = Float32Array.from(input.dataSync());
  const at = (index: number, offset: number): number => {
    const moved = values.slice();
    moved[index] = (moved[index] as number) + offset;
    const replaced = inputs.map((other, i) => (i === position ? tf.tensor(moved, input.shape) : other));
    return scalar(...replaced).dataSync()[0] as number;
  };
  return Array.from(values, (_, index) => (at(index, step) - at(index, -step)) / (2 * step));
}
