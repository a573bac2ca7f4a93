import * as tf from "@tensorflow/tfjs-core";
import { gradient, normalizeAxis, sizeOf, zeros } from "./definition.ts";

/**
 * A look-up along `axis`: rows that were read several times add their gradients.
 * x [batch, outer, n, inner], indices [batch, k], ∂y [batch, outer, k, inner].
 */
const gather = gradient(
  { kernel: "GatherV2", inputs: ["x", "indices"] },
  (dy, { x, indices }, attributes: tf.GatherV2Attrs) => ({
    x: () => {
      const batchDims = normalizeAxis(attributes.batchDims ?? 0, indices.rank);
      const axis = normalizeAxis(attributes.axis ?? 0, x.rank);
      const batch = sizeOf(x.shape.slice(0, batchDims));
      const outer = sizeOf(x.shape.slice(batchDims, axis));
      const inner = sizeOf(x.shape.slice(axis + 1));
      const [n, k] = [x.shape[axis] as number, sizeOf(indices.shape.slice(batchDims))];
      if (x.size === 0 || dy.size === 0) return zeros(x.shape);
      const swap = (value: tf.Tensor, rows: number, columns: number): tf.Tensor =>
        outer === 1 ? value : tf.transpose(tf.reshape(value, [batch, rows, columns, inner]), [0, 2, 1, 3]);
      const rows = tf.reshape(swap(dy, outer, k), [batch * k, outer * inner]);
      const sums = tf.scatterND(rowNumbers(indices, batch, n), rows, [batch * n, outer * inner]);
      return tf.reshape(swap(sums, n, outer), x.shape);
    },
    indices: () => zeros(indices.shape),
  }),
);

/** Row numbers [batch·k, 1] in a table in which the n rows of every batch entry follow each other. */
function rowNumbers(indices: tf.Tensor, batch: number, n: number): tf.Tensor {
  const columns = tf.reshape(indices, [batch, -1]);
  const starts = tf.reshape(tf.range(0, batch * n, n, "int32"), [batch, 1]);
  return tf.reshape(batch === 1 ? columns : tf.add(columns, starts), [-1, 1]);
}

const gatherNd = gradient({ kernel: "GatherNd", inputs: ["params", "indices"] }, (dy, { params, indices }) => ({
  params: () => {
    const depth = indices.shape.at(-1) as number;
    const updates = tf.reshape(dy, [-1, ...params.shape.slice(depth)]);
    return dy.size === 0 ? zeros(params.shape) : tf.scatterND(tf.reshape(indices, [-1, depth]), updates, params.shape);
  },
  indices: () => zeros(indices.shape),
}));

/** Indices of tfjs's scatter kernels as [n, depth]: a list of numbers there is one of rows, not one place. */
function places(indices: tf.Tensor): tf.Tensor2D {
  return tf.reshape(indices, [-1, indices.rank > 1 ? (indices.shape.at(-1) as number) : 1]);
}

/** Every update was added to one place, and gets what arrives there. */
const scatterNd = gradient({ kernel: "ScatterNd", inputs: ["indices", "updates"] }, (dy, { indices, updates }) => ({
  indices: () => zeros(indices.shape),
  updates: () =>
    updates.size === 0 ? zeros(updates.shape) : tf.reshape(tf.gatherND(dy, places(indices)), updates.shape),
}));

/** The tensor gets what arrives where nothing was written; of several updates of one place only the one that is seen counts. */
const tensorScatterUpdate = gradient(
  { kernel: "TensorScatterUpdate", inputs: ["tensor", "indices", "updates"] },
  (dy, saved) => {
    const { updates } = saved;
    const indices = places(saved.indices);
    const [count, depth] = indices.shape;
    const slots = saved.tensor.shape.slice(0, depth);
    // The number of the update that is seen in every slot, −1 where none is.
    const writer = (): tf.Tensor =>
      tf.tensorScatterUpdate(tf.fill(slots, -1, "int32"), indices, tf.range(0, count, 1, "int32"));
    const columns = (mask: tf.Tensor): tf.Tensor =>
      tf.reshape(mask, [...mask.shape, ...saved.tensor.shape.slice(depth).map(() => 1)]);
    return {
      tensor: () => tf.where(columns(tf.less(writer(), 0)), dy, zeros(dy.shape)),
      indices: () => zeros(saved.indices.shape),
      updates: () => {
        if (updates.size === 0) return zeros(updates.shape);
        const seen = tf.equal(tf.gatherND(writer(), indices), tf.range(0, count, 1, "int32"));
        const arriving = tf.gatherND(dy, indices);
        return tf.reshape(tf.where(columns(seen), arriving, zeros(arriving.shape)), updates.shape);
      },
    };
  },
);

/** Rows whose segment does not exist were dropped, and get nothing. */
const segmentSum = gradient(
  { kernel: "UnsortedSegmentSum", inputs: ["x", "segmentIds"] },
  (dy, { x, segmentIds }, { numSegments }: tf.UnsortedSegmentSumAttrs) => ({
    x: () => {
      const [first, last] = [tf.scalar(0, "int32"), tf.scalar(numSegments - 1, "int32")];
      const nearest = tf.minimum(tf.maximum(segmentIds, first), last);
      const kept = tf.cast(tf.equal(nearest, segmentIds), "float32");
      const mask = tf.reshape(kept, [...segmentIds.shape, ...x.shape.slice(segmentIds.rank).map(() => 1)]);
      return tf.mul(tf.gather(dy, nearest), mask);
    },
    segmentIds: () => zeros(segmentIds.shape),
  }),
);

export const INDEXING: readonly tf.GradConfig[] = [gather, gatherNd, scatterNd, tensorScatterUpdate, segmentSum];
