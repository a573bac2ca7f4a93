import type { LayerSite } from "@peftjs/core";
import { after } from "@peftjs/core/internal";
import * as tf from "@tensorflow/tfjs-core";

/** Increments of chosen entries. */
export interface Entries {
  /** δ [k]. */
  readonly values: tf.Tensor1D;
  /** I int32 [k]: places in the flattened tensor; for a weight in (out, in) order, whatever its layout. */
  readonly indices: tf.Tensor1D;
}

type Site = Pick<LayerSite, "inFeatures" | "outFeatures" | "layout">;
type Save = (tensors: tf.Tensor[]) => void;

/**
 * S(δ) [n]: δ_j at I_j and −0 elsewhere, the zero that no number is changed by when it is added. Its gradient is ∂δ = ∂S[I].
 */
export function scatter({ values, indices }: Entries, size: number): tf.Tensor1D {
  const op = tf.customGrad((...args: (tf.Tensor | Save)[]) => {
    const [given, save] = args as [tf.Tensor1D, Save];
    save([indices]);
    const gradFunc = (dy: tf.Tensor, [at]: tf.Tensor[]): tf.Tensor => tf.gather(dy, at as tf.Tensor1D);
    const value = tf.tensorScatterUpdate(tf.fill([size], -0), tf.reshape(indices, [-1, 1]), given);
    return { value, gradFunc };
  });
  return op(values) as tf.Tensor1D;
}

/** S(δ) as a weight is stored. */
export function scatterWeight({ values, indices }: Entries, site: Site): tf.Tensor2D {
  const entries = { values, indices: stored(indices, site) };
  return shaped(scatter(entries, site.inFeatures * site.outFeatures), site);
}

/**
 * x·(W + S(δ))ᵀ, or x·S(δ)ᵀ without a W. x [n, in] → [n, out].
 *
 * Gradients: ∂x = ∂y·(W + S(δ)), and ∂δ_j = Σₙ ∂y[n, row_j]·x[n, col_j]. The latter is read off ∂yᵀ·x [out, in], one layer's product
 * that is dropped at once, or summed from the columns of x and ∂y where these are smaller, n·k < out·in. Nothing of the weight's size
 * is kept for the backward pass.
 */
export function sparseProduct(
  x: tf.Tensor2D,
  { values, indices }: Entries,
  { site, weight }: { readonly site: Site; readonly weight: tf.Tensor2D | null },
): tf.Tensor2D {
  const transposed = site.layout === "out_in";
  const op = tf.customGrad((...args: (tf.Tensor | Save)[]) => {
    const [input, given, save] = args as [tf.Tensor2D, tf.Tensor1D, Save];
    save([input, given, indices, ...(weight === null ? [] : [weight])]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]): tf.Tensor[] => {
      const [kept, delta, places, own = null] = saved as [tf.Tensor2D, tf.Tensor1D, tf.Tensor1D, tf.Tensor2D?];
      // Not before the gradient is there, or the weight would be made once and kept.
      const changed = withEntries(own, { values: after(delta, dy), indices: places }, site);
      return [
        tf.matMul(dy as tf.Tensor2D, changed, false, !transposed),
        entriesOfProduct({ dy: dy as tf.Tensor2D, x: kept }, places, site),
      ];
    };
    const value = tf.matMul(input, withEntries(weight, { values: given, indices }, site), false, transposed);
    // tfjs types the gradient of a function of several tensors as that of one.
    return { value, gradFunc: gradFunc as unknown as () => tf.Tensor };
  });
  return op(x, values) as tf.Tensor2D;
}

/** W + S(δ), as it is stored; S(δ) without a W. */
function withEntries(weight: tf.Tensor2D | null, entries: Entries, site: Site): tf.Tensor2D {
  const change = scatterWeight(entries, site);
  return weight === null ? change : tf.add(weight, change);
}

/** (∂yᵀ·x)[I] [k]. */
function entriesOfProduct(
  { dy, x }: { readonly dy: tf.Tensor2D; readonly x: tf.Tensor2D },
  indices: tf.Tensor1D,
  { inFeatures, outFeatures }: Site,
): tf.Tensor1D {
  if (x.shape[0] * indices.size >= inFeatures * outFeatures)
    return tf.gather(tf.reshape(tf.matMul(dy, x, true), [-1]), indices);
  const { rows, columns } = positions(indices, inFeatures);
  return tf.sum(tf.mul(tf.gather(tf.transpose(dy), rows), tf.gather(tf.transpose(x), columns)), 1);
}

/** Row and column of each place in an (out, in) matrix. */
function positions(indices: tf.Tensor1D, inFeatures: number): { rows: tf.Tensor1D; columns: tf.Tensor1D } {
  const width = tf.scalar(inFeatures, "int32");
  return { rows: tf.floorDiv(indices, width), columns: tf.mod(indices, width) };
}

/** The same places in the weight as it is stored. */
function stored(indices: tf.Tensor1D, { layout, inFeatures, outFeatures }: Site): tf.Tensor1D {
  if (layout === "out_in") return indices;
  const { rows, columns } = positions(indices, inFeatures);
  return tf.add(tf.mul(columns, tf.scalar(outFeatures, "int32")), rows);
}

function shaped(flat: tf.Tensor1D, { layout, inFeatures, outFeatures }: Site): tf.Tensor2D {
  return tf.reshape(flat, layout === "out_in" ? [outFeatures, inFeatures] : [inFeatures, outFeatures]);
}
