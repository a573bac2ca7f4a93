import { float32, kaimingUniform, sizeOf } from "@peftjs/core";
import type { Generator, HostTensor, Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** A table of normal(0, 1) numbers, as `torch.nn.Embedding` starts. */
export function normalTable(shape: readonly number[], generator: Generator): HostTensor {
  return float32(generator.normal(sizeOf(shape)), shape);
}

/**
 * A table `input` [n, widths[0]] and linear layers `w1` [widths[1], widths[0]], `b1` [widths[1]], `w2` … behind it. Drawn as torch does
 * with the same seed: the table normal(0, 1), then each layer's weight and bias uniform in ±1/√in.
 */
export function encoderStart(count: number, widths: readonly number[], generator: Generator): Named<HostTensor> {
  const input = normalTable([count, widths[0] as number], generator);
  const layers = widths.slice(1).flatMap((out, i) => {
    const before = widths[i] as number;
    const bound = 1 / Math.sqrt(before);
    return [
      [`w${i + 1}`, kaimingUniform([out, before], generator)],
      [`b${i + 1}`, float32(generator.uniform(out, -bound, bound), [out])],
    ] as const;
  });
  return { input, ...Object.fromEntries(layers) };
}

/**
 * The table of virtual tokens: `table` as it is, or what the encoder makes of its `input` E,
 * x₁ = E·W₁ᵀ + b₁, xᵢ = act(xᵢ₋₁)·Wᵢᵀ + bᵢ. → [n, out of the last layer].
 */
export function encode(params: Named<tf.Tensor>, act: (x: tf.Tensor2D) => tf.Tensor2D): tf.Tensor2D {
  const { table, input } = params;
  if (table !== undefined) return table as tf.Tensor2D;
  const layers = Object.keys(params).filter((name) => name.startsWith("w")).length;
  let x = input as tf.Tensor2D;
  for (let i = 1; i <= layers; i++) {
    const product = tf.matMul(i === 1 ? x : act(x), params[`w${i}`] as tf.Tensor2D, false, true);
    x = tf.add(product, params[`b${i}`] as tf.Tensor);
  }
  return x;
}
