import * as tf from "@tensorflow/tfjs-core";
import { around, gradient, listOf, sumTo, zeros } from "./definition.ts";

/** y repeats x: an axis of n that was repeated r times is seen as [r, n] and summed over r. */
const tile = gradient({ kernel: "Tile", inputs: ["x"] }, (dy, { x }, { reps }: tf.TileAttrs) => ({
  x: () => {
    // An axis of size 1 needs no second one: rank costs, and backends have a largest.
    const parts = x.shape.map((size, axis) => ({ size, times: reps[axis] as number }));
    const alone = ({ size, times }: (typeof parts)[number]): boolean => size === 1 || times === 1;
    const split = parts.flatMap((part) => (alone(part) ? [part.size * part.times] : [part.times, part.size]));
    const kept = parts.flatMap((part) => (alone(part) ? [part.size] : [1, part.size]));
    return tf.reshape(sumTo(tf.reshape(dy, split), kept), x.shape);
  },
}));

/** The results of a split that nobody used come as zeros; a split into one comes as a tensor, not a list. */
const split: tf.GradConfig = {
  kernelName: "SplitV",
  gradFunc: (dys, _, attributes) => ({ x: () => tf.concat(listOf(dys), attributes["axis"] as number) }),
};

const unpack: tf.GradConfig = {
  kernelName: "Unpack",
  gradFunc: (dys, _, attributes) => ({ value: () => tf.stack(listOf(dys), attributes["axis"] as number) }),
};

/** y[i, i] = x[i]. In rows of n + 1 instead of n, the diagonal of an n × n matrix is the first column. */
const diagonal = gradient({ kernel: "Diag", inputs: ["x"] }, (dy, { x }) => ({
  x: () => {
    const { size } = x;
    if (size === 0) return zeros(x.shape);
    const padded = tf.pad(tf.reshape(dy, [size * size]), [[0, size]]);
    return tf.reshape(tf.slice(tf.reshape(padded, [size, size + 1]), [0, 0], [size, 1]), x.shape);
  },
}));

/** Every element of the border adds to the one that it mirrors, axis after axis. */
const mirrorPad = gradient({ kernel: "MirrorPad" }, (dy, _, { paddings, mode }: tf.MirrorPadAttrs) => ({
  x: () => paddings.reduce((partial, padding, axis) => fold(partial, axis, padding, mode === "reflect" ? 1 : 0), dy),
}));

/** The partial of one axis: the borders [before] and [after], turned round, added to what lies `offset` from the ends. */
function fold(dy: tf.Tensor, axis: number, [before, after]: readonly [number, number], offset: number): tf.Tensor {
  const { outer, inner } = around(dy.shape, axis);
  const size = (dy.shape[axis] as number) - before - after;
  const rows: tf.Tensor3D = tf.reshape(dy, [outer, dy.shape[axis] as number, inner]);
  const part = (begin: number, length: number): tf.Tensor3D => tf.slice(rows, [0, begin, 0], [outer, length, inner]);
  const mirrored = (begin: number, length: number, from: number): tf.Tensor =>
    shift(tf.reverse(part(begin, length), 1), from, size);
  let sum: tf.Tensor = part(before, size);
  if (before > 0) sum = tf.add(sum, mirrored(0, before, offset));
  if (after > 0) sum = tf.add(sum, mirrored(before + size, after, size - offset - after));
  return tf.reshape(sum, dy.shape.with(axis, size));
}

/** x [outer, n, inner] in zeros of [outer, size, inner], beginning at `from`. */
function shift(x: tf.Tensor3D, from: number, size: number): tf.Tensor3D {
  return tf.pad(x, [
    [0, 0],
    [from, size - from - x.shape[1]],
    [0, 0],
  ]);
}

/** Every element goes back to where it was taken from, axis after axis; where nothing was taken, there is 0. */
const stridedSlice = gradient(
  { kernel: "StridedSlice", inputs: ["x"] },
  (dy, { x }, attributes: tf.StridedSliceAttrs) => ({
    x: () => {
      if (dy.size === 0) return zeros(x.shape);
      const { begin, end, strides } = tf.slice_util.sliceInfo(
        x.shape,
        attributes.begin,
        attributes.end,
        attributes.strides,
        attributes.beginMask,
        attributes.endMask,
        attributes.ellipsisMask,
        attributes.newAxisMask,
        attributes.shrinkAxisMask,
      );
      const counts = tf.slice_util.computeOutShape(begin, end, strides);
      return x.shape.reduce<tf.Tensor>(
        (partial, size, axis) =>
          spread(partial, axis, { size, begin: begin[axis] as number, stride: strides[axis] as number }),
        tf.reshape(dy, counts),
      );
    },
  }),
);

interface Steps {
  readonly size: number;
  readonly begin: number;
  readonly stride: number;
}

/** The n elements along `axis` at begin, begin + stride, … of zeros of `size`. */
function spread(dy: tf.Tensor, axis: number, { size, begin, stride }: Steps): tf.Tensor {
  const count = dy.shape[axis] as number;
  const { outer, inner } = around(dy.shape, axis);
  const rows: tf.Tensor3D = tf.reshape(dy, [outer, count, inner]);
  const [ascending, first] = stride > 0 ? [rows, begin] : [tf.reverse(rows, 1), begin + (count - 1) * stride];
  const gap = Math.abs(stride);
  // A gap of zeros follows every element but the last.
  const padded = tf.pad(tf.reshape(ascending, [outer, count, 1, inner]), [
    [0, 0],
    [0, 0],
    [0, gap - 1],
    [0, 0],
  ]);
  const length = (count - 1) * gap + 1;
  const gapped: tf.Tensor3D = tf.reshape(padded, [outer, count * gap, inner]);
  const spaced = tf.slice(gapped, [0, 0, 0], [outer, length, inner]);
  return tf.reshape(shift(spaced, first, size), dy.shape.with(axis, size));
}

/** Channels [.., s, s, c] became blocks of s × s places; the transposition back. */
const depthToSpace = gradient({ kernel: "DepthToSpace" }, (dy, _, { blockSize, dataFormat }: tf.DepthToSpaceAttrs) => ({
  x: () => {
    const s = blockSize;
    if (dataFormat === "NCHW") {
      const [batch, channels, height, width] = dy.shape as [number, number, number, number];
      const [h, w] = [height / s, width / s];
      const blocks = tf.transpose(tf.reshape(dy, [batch, channels, h, s, w, s]), [0, 3, 5, 1, 2, 4]);
      return tf.reshape(blocks, [batch, s * s * channels, h, w]);
    }
    const [batch, height, width, channels] = dy.shape as [number, number, number, number];
    const [h, w] = [height / s, width / s];
    const blocks = tf.transpose(tf.reshape(dy, [batch, h, s, w, s, channels]), [0, 1, 3, 2, 4, 5]);
    return tf.reshape(blocks, [batch, h, w, s * s * channels]);
  },
}));

export const STRUCTURE: readonly tf.GradConfig[] = [
  tile,
  split,
  unpack,
  diagonal,
  mirrorPad,
  stridedSlice,
  depthToSpace,
];
