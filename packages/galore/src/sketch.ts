import { matmul, matrix, qr, svd, transpose } from "@peftjs/core";
import type { Generator, HostMatrix, HostTensor, Named } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { GaloreConfig } from "./config.ts";
import { asMatrix, asTensor, firstRows } from "./host.ts";
import { perAxis } from "./projection.ts";
import type { PerAxis, Projection } from "./projection.ts";
import { tensorOf } from "./rules/tensorOf.ts";

/** What is found below this part of a sketch, whose norm is 1, is rounding of float32. */
const ROUNDING = 1e-5;
const SMALLEST = 1e-30;

/** Random numbers for the sketches of one gradient: of each axis Ω [r + oversample, length of the other axis], standard normal. */
export function drawSketch(
  [rows, columns]: readonly [number, number],
  { projection, config, generator }: DrawOptions,
): Named<HostTensor> {
  const width = projection.rank + config.oversample;
  return perAxis(projection.axes, (_, axis) => {
    const across = axis === "columns" ? rows : columns;
    return asTensor(matrix(generator.normal(width * across), [width, across]));
  }) as Named<HostTensor>;
}

export interface DrawOptions {
  readonly projection: Projection;
  readonly config: Pick<GaloreConfig, "oversample">;
  readonly generator: Generator;
}

/**
 * What a basis can be found from without the gradient: for an axis the products Yⱼ = Ω·G·(GᵀG)ʲ, j = 0 … `powerIterations` + 1, each divided
 * by its norm (columns; for rows Gᵀ stands for G). Named `<axis>.<j>`. Traceable.
 */
export function sketchOf(
  gradient: tf.Tensor2D,
  inputs: Named<tf.Tensor>,
  { projection, powerIterations }: { readonly projection: Projection } & Pick<GaloreConfig, "powerIterations">,
): Named<tf.Tensor> {
  const sketches: Record<string, tf.Tensor> = {};
  perAxis(projection.axes, (_, axis) => {
    const flipped = axis === "rows";
    let y = normalized(tf.matMul(tensorOf<tf.Tensor2D>(inputs, axis), gradient, false, flipped));
    sketches[`${axis}.0`] = y;
    for (let j = 1; j <= highest(powerIterations); j++) {
      y = normalized(tf.matMul(tf.matMul(y, gradient, false, !flipped), gradient, false, flipped));
      sketches[`${axis}.${j}`] = y;
    }
  });
  return sketches;
}

/** One power more than `findBases` takes, whose last product with G sorts directions once more. */
function highest(powerIterations: number): number {
  return powerIterations + 1;
}

function normalized(y: tf.Tensor2D): tf.Tensor2D {
  return tf.div(y, tf.maximum(tf.sqrt(tf.sum(tf.square(y))), SMALLEST));
}

/** The leading singular vectors on each axis, from what `sketchOf` returned. */
export function basesOfSketch(
  sketches: Named<HostTensor>,
  { projection, powerIterations }: { readonly projection: Projection } & Pick<GaloreConfig, "powerIterations">,
): PerAxis<HostTensor> {
  return perAxis(projection.axes, (_, axis) => {
    const powers = Array.from({ length: highest(powerIterations) + 1 }, (_power, j) =>
      asMatrix(sketches[`${axis}.${j}`] as HostTensor),
    );
    return asTensor(leadingRows(powers, projection.rank));
  });
}

/**
 * The highest power tells directions apart best, but singular values to the power of 2j + 1 soon differ by more than float32 holds: what
 * is lost in it is taken from the power below, after what was found already is taken out of that.
 */
function leadingRows(powers: readonly HostMatrix[], rank: number): HostMatrix {
  const columns = powers[0]?.columns ?? 0;
  let found = matrix(new Float64Array(0), [0, columns]);
  for (const [j, power] of [...powers.entries()].reverse()) {
    const { s, v } = svd(without(power, found));
    const distinct = j === 0 ? s.length : s.filter((value) => value > ROUNDING).length;
    const count = Math.min(distinct, rank - found.rows);
    found = stacked(found, firstRows(transpose(v), count));
  }
  return transpose(qr(transpose(found)).q);
}

/** Y − (Y·Fᵀ)·F, F with orthonormal rows. */
function without(y: HostMatrix, found: HostMatrix): HostMatrix {
  if (found.rows === 0) return y;
  const { data } = matmul(matmul(y, transpose(found)), found);
  return matrix(
    data.map((value, i) => (y.data[i] as number) - value),
    [y.rows, y.columns],
  );
}

function stacked(above: HostMatrix, below: HostMatrix): HostMatrix {
  const data = new Float64Array(above.data.length + below.data.length);
  data.set(above.data);
  data.set(below.data, above.data.length);
  return matrix(data, [above.rows + below.rows, above.columns]);
}
