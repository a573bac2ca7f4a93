import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import { TRACE_BACKEND } from "../onnx/trace/backend.ts";
import { gradient, normalizeAxis, zeros } from "./definition.ts";

/** Rows [k, …] added up by their numbers [k], as a table of `count` rows. */
function addRows(rows: tf.Tensor, numbers: tf.Tensor, count: number): tf.Tensor {
  // The compiled engine knows by the kernel's name that the other rows are 0. On the cpu backend that kernel reads all rows
  // once per row of the table, a scatter once.
  if (tf.getBackend() === TRACE_BACKEND) return tf.unsortedSegmentSum(rows, numbers as tf.Tensor1D, count);
  return tf.scatterND(tf.reshape(numbers, [-1, 1]), rows, [count, ...rows.shape.slice(1)]);
}

/** A look-up along `axis`: rows that were read several times add their gradients. */
const gather = gradient(
  { kernel: "GatherV2", inputs: ["x", "indices"] },
  (dy, { x, indices }, attributes: tf.GatherV2Attrs) => ({
    x: () => {
      if (x.size === 0 || dy.size === 0) return zeros(x.shape);
      const axis = normalizeAxis(attributes.axis ?? 0, x.rank);
      const batchDims = normalizeAxis(attributes.batchDims ?? 0, indices.rank);
      return batchDims === 0
        ? tableGradient(dy, { x, indices, axis })
        : batchGradient(dy, { x, indices, axis, batchDims });
    },
    indices: () => zeros(indices.shape),
  }),
);

interface LookUp {
  readonly x: tf.Tensor;
  readonly indices: tf.Tensor;
  readonly axis: number;
}

/** x [outer…, n, inner…], indices of k, ∂y [outer…, k, inner…]. */
function tableGradient(dy: tf.Tensor, { x, indices, axis }: LookUp): tf.Tensor {
  const values = tf.reshape(dy, x.shape.with(axis, indices.size));
  const axes = x.shape.map((_, i) => i);
  const toFront = [axis, ...axes.toSpliced(axis, 1)];
  const back = [...axes.slice(1, axis + 1), 0, ...axes.slice(axis + 1)];
  const rows = axis === 0 ? values : tf.transpose(values, toFront);
  const sums = addRows(rows, tf.reshape(indices, [-1]), x.shape[axis] as number);
  return axis === 0 ? sums : tf.transpose(sums, back);
}

/** x [batch…, outer…, n, inner…], indices [batch…, k…]: one table in which the n rows of every batch entry follow each other. */
function batchGradient(
  dy: tf.Tensor,
  { x, indices, axis, batchDims }: LookUp & { readonly batchDims: number },
): tf.Tensor {
  const batch = sizeOf(x.shape.slice(0, batchDims));
  const outer = sizeOf(x.shape.slice(batchDims, axis));
  const inner = sizeOf(x.shape.slice(axis + 1));
  const [n, k] = [x.shape[axis] as number, indices.size / batch];
  const values = tf.transpose(tf.reshape(dy, [batch, outer, k, inner]), [0, 2, 1, 3]);
  const starts = tf.reshape(tf.range(0, batch * n, n, "int32"), [batch, 1]);
  const numbers = tf.reshape(tf.add(tf.reshape(indices, [batch, k]), starts), [-1]);
  const sums = addRows(tf.reshape(values, [batch * k, outer, inner]), numbers, batch * n);
  return tf.reshape(tf.transpose(tf.reshape(sums, [batch, n, outer, inner]), [0, 2, 1, 3]), x.shape);
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
