import { float32, largestEigenPairs, matrix } from "@peftjs/core";
import type { Generator, HostMatrix, HostTensor, Named, TensorRunner } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { GaloreConfig } from "./config.ts";
import { asMatrix, firstRows } from "./host.ts";
import { identity, multiplied, orthonormal, readRows, RESOLVED, scaled, withProducts } from "./orthonormal.ts";
import type { Rows } from "./orthonormal.ts";
import { programOf } from "./programs.ts";
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
    return float32(generator.normal(width * across), [width, across]);
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
      const across = scaled(tf.matMul<tf.Tensor2D>(y, gradient, false, !flipped));
      y = normalized(tf.matMul(across, gradient, false, flipped));
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

export interface SketchOptions extends Pick<GaloreConfig, "powerIterations"> {
  readonly projection: Projection;
  /** For rows that stand in where there is no direction to be found. */
  readonly generator: Generator;
  readonly runner: TensorRunner;
}

/** The leading singular vectors on each axis, from what `sketchOf` returned. */
export async function basesOfSketch(sketches: Named<HostTensor>, options: SketchOptions): Promise<PerAxis<HostTensor>> {
  const { projection, powerIterations } = options;
  const basis = async (axis: keyof PerAxis<true>): Promise<HostTensor | undefined> => {
    if (projection.axes[axis] === undefined) return undefined;
    const powers = Array.from(
      { length: highest(powerIterations) + 1 },
      (_, j) => sketches[`${axis}.${j}`] as HostTensor,
    );
    return leadingRows(powers, options);
  };
  return { rows: await basis("rows"), columns: await basis("columns") };
}

/**
 * The highest power tells directions apart best, but singular values to the power of 2j + 1 soon differ by more than float32 holds: what
 * is lost in it is taken from the power below, after what was found already is taken out of that. Nor do the products of rows show as much
 * as the rows: when what they show is taken out, they are looked at again.
 */
async function leadingRows(
  powers: readonly HostTensor[],
  { projection: { rank }, generator, runner }: SketchOptions,
): Promise<HostTensor> {
  const columns = powers[0]?.shape[1] ?? 0;
  // Rows that are not found are zero.
  const found = float32(new Float32Array(rank * columns), [rank, columns]);
  let count = 0;
  for (const power of powers.toReversed()) {
    while (count < rank) {
      const more = await strongest(await without(power, found, runner), rank, runner);
      const taken = Math.min(more.rows, rank - count);
      if (taken === 0) break;
      found.data.set(firstRows(more, taken).data, count * columns);
      count += taken;
    }
  }
  return orthonormal(runner, await multiplied(runner, { factor: identity(rank), rows: found }), generator);
}

/** Right singular vectors, at most `rank`, as far as the products tell them from rounding. */
async function strongest({ rows, gram }: Rows, rank: number, runner: TensorRunner): Promise<HostMatrix> {
  const none = matrix(new Float32Array(0), [0, rows.shape[1] ?? 0]);
  // The sum of all eigenvalues.
  const total = Array.from({ length: gram.rows }, (_, i) => gram.data[i * (gram.rows + 1)] as number);
  if (total.reduce((sum, value) => sum + value, 0) <= ROUNDING ** 2) return none;
  const { values, vectors } = largestEigenPairs(gram, rank);
  const least = Math.max(ROUNDING ** 2, RESOLVED * (values[0] as number));
  const distinct = values.filter((value) => value > least);
  if (distinct.length === 0) return none;
  // U·Y has the lengths of the singular values.
  const factor = vectors.data.map(
    (x, at) => x / Math.sqrt(Math.max(values[Math.floor(at / gram.rows)] as number, least)),
  ) as Float64Array;
  const whole = await multiplied(runner, { factor: matrix(factor, [rank, gram.rows]), rows });
  return firstRows(asMatrix(whole.rows), distinct.length);
}

/** Y − (Y·Fᵀ)·F, twice: rows of F are as orthonormal as products in float32 can show. */
async function without(y: HostTensor, found: HostTensor, runner: TensorRunner): Promise<Rows> {
  const program = programOf(runner, "Y − Y·Fᵀ·F", ({ x: { y: all, f } = {} }) => {
    const once = (rows: tf.Tensor): tf.Tensor2D =>
      tf.sub(rows, tf.matMul(tf.matMul(rows as tf.Tensor2D, f as tf.Tensor2D, false, true), f as tf.Tensor2D));
    return withProducts(once(once(all as tf.Tensor)));
  });
  return readRows((await program.run({ x: { y, f: found } }))["out"] ?? {});
}
