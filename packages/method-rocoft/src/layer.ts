import { recompute } from "@peftjs/core";
import type { LayerSite } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";

/** Coordinates of an axis that learn. */
export interface Coordinates {
  /** int32 [r], ascending. */
  readonly indices: tf.Tensor1D;
  /** Length of the axis. */
  readonly size: number;
  /** They are 0 … r−1. */
  readonly leading: boolean;
}

/** What learns of a weight W [out, in]: D is [r, in] (rows), [out, r] (columns) or [k] (entries, indices int32 [2, k] of i and j). */
export type Change =
  | { readonly mode: "row" | "column"; readonly d: tf.Tensor2D; readonly at: Coordinates }
  | { readonly mode: "entries"; readonly d: tf.Tensor1D; readonly indices: tf.Tensor2D };

/** A weight as it is stored. */
export interface Stored {
  readonly weight: tf.Tensor2D;
  readonly layout: LayerSite["layout"];
}

/** x[:, I]: [n, size] → [n, r]. Its transpose is {@link place}, which is its gradient. Nothing of x is kept for the backward pass. */
export function take(x: tf.Tensor2D, at: Coordinates): tf.Tensor2D {
  return linear(x, at, { value: pick, gradient: put });
}

/** Zero but for y[:, I] = v: [n, r] → [n, size]. Its transpose is {@link take}, which is its gradient. */
export function place(v: tf.Tensor2D, at: Coordinates): tf.Tensor2D {
  return linear(v, at, { value: put, gradient: pick });
}

/**
 * What learned rows add to the output, y[:, R] = x·Dᵀ (RoCoFT, W = W₀ + R). x [n, in], D [r, in] → [n, out].
 * ∂D = (∂y[:, R])ᵀ·x [r, in]: the gradient of the other rows is never formed.
 */
export function rowUpdate(x: tf.Tensor2D, d: tf.Tensor2D, at: Coordinates): tf.Tensor2D {
  return place(tf.matMul(x, d, false, true), at);
}

/**
 * What learned columns add to the output, y = x[:, C]·Dᵀ (RoCoFT, W = W₀ + C). x [n, in], D [out, r] → [n, out].
 * ∂D = ∂yᵀ·x[:, C] [out, r]: of x, the backward pass needs the r columns alone.
 */
export function columnUpdate(x: tf.Tensor2D, d: tf.Tensor2D, at: Coordinates): tf.Tensor2D {
  return tf.matMul(take(x, at), d, false, true);
}

/** ΔW in the stored layout of a weight [out, in]: zero but for the rows, columns or entries, which are D. */
export function changeOfWeight(
  change: Change,
  { layout, inFeatures, outFeatures }: Pick<LayerSite, "layout" | "inFeatures" | "outFeatures">,
): tf.Tensor2D {
  const inOut = layout === "in_out";
  if (change.mode === "entries") {
    const pairs = tf.transpose(inOut ? tf.reverse(change.indices, 0) : change.indices);
    const shape: [number, number] = inOut ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
    return tf.scatterND(pairs, change.d, shape) as tf.Tensor2D;
  }
  const { d, at, mode } = change;
  // Columns of ΔW are rows of its transpose.
  const byRow = mode === "row";
  const placed = put(byRow ? tf.transpose(d) : d, at);
  return byRow === inOut ? placed : tf.transpose(placed);
}

/**
 * x·(W + ΔW)ᵀ by way of the changed weight, which is made again in the backward pass instead of being kept. x [n, in] → [n, out].
 * ∂D of rows and columns as in {@link rowUpdate} and {@link columnUpdate}; of entries, ∂Dₖ = Σₙ ∂y[n, iₖ]·x[n, jₖ], read off the
 * product ∂yᵀ·x, so that the gradient of one layer's weight exists for a moment.
 */
export function changedProduct(x: tf.Tensor2D, change: Change, { weight, layout }: Stored): tf.Tensor2D {
  const transposed = layout === "out_in";
  const [rows, columns] = weight.shape;
  const shape = transposed ? { outFeatures: rows, inFeatures: columns } : { outFeatures: columns, inFeatures: rows };
  const product = tf.customGrad((...args) => {
    const [d, input, save] = args as unknown as [tf.Tensor, tf.Tensor2D, (tensors: tf.Tensor[]) => void];
    const changed: tf.Tensor2D = tf.add(weight, changeOfWeight({ ...change, d } as Change, { layout, ...shape }));
    save([input, changed]);
    const gradFunc = (dy: tf.Tensor2D, [kept, w]: [tf.Tensor2D, tf.Tensor2D]): tf.Tensor[] => [
      gradientOf(change, dy, kept),
      tf.matMul(dy, w, false, !transposed),
    ];
    // tfjs types the gradient of a function of several tensors as that of one.
    return { value: tf.matMul(input, changed, false, transposed), gradFunc: gradFunc as unknown as () => tf.Tensor };
  });
  return recompute((d, input) => product(d as tf.Tensor, input as tf.Tensor) as tf.Tensor2D, [change.d, x]);
}

/** ∂D from ∂y [n, out] and x [n, in]. */
function gradientOf(change: Change, dy: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor {
  if (change.mode === "entries") return tf.gatherND(tf.matMul(dy, x, true), tf.transpose(change.indices));
  const { mode, at } = change;
  return mode === "row" ? tf.matMul(pick(dy, at), x, true) : tf.matMul(dy, pick(x, at), true);
}

type Linear = (x: tf.Tensor2D, at: Coordinates) => tf.Tensor2D;

/** A linear function and its transpose; nothing is kept but the indices. */
function linear(
  x: tf.Tensor2D,
  at: Coordinates,
  { value, gradient }: { readonly value: Linear; readonly gradient: Linear },
): tf.Tensor2D {
  const op = tf.customGrad((...args) => {
    const [input] = args as unknown as [tf.Tensor2D];
    return { value: value(input, at), gradFunc: (dy: tf.Tensor) => gradient(dy as tf.Tensor2D, at) };
  });
  return op(x) as tf.Tensor2D;
}

function pick(x: tf.Tensor2D, { indices, leading }: Coordinates): tf.Tensor2D {
  return leading ? tf.slice(x, [0, 0], [-1, indices.shape[0]]) : (tf.gather(x, indices, 1) as tf.Tensor2D);
}

/** Leading coordinates are padded; others are multiplied with their rows of the unit matrix. Both are exact. */
function put(v: tf.Tensor2D, { indices, size, leading }: Coordinates): tf.Tensor2D {
  if (leading)
    return tf.pad(v, [
      [0, 0],
      [0, size - indices.shape[0]],
    ]);
  return tf.matMul(v, tf.oneHot(indices, size, 1, 0, "float32") as tf.Tensor2D);
}
