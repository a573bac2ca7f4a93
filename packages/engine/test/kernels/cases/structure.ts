import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import * as any from "../arbitrary.ts";
import type { Kind, KernelCase, Sample } from "../describeKernels.ts";

const ALL: readonly DType[] = ["float32", "int32", "bool"];
const GRADIENT = { from: -2, to: 2 };

type Move = (x: tf.Tensor) => tf.Tensor | readonly tf.Tensor[];

/** A kernel that moves the values of one tensor: `moves` draws, for a shape, what is done with tensors of it. */
function moving(
  kernel: string,
  moves: (shape: number[]) => fc.Arbitrary<Move>,
  { ranks = {}, ...rest }: { readonly ranks?: any.Ranks } & Partial<KernelCase> = {},
): KernelCase {
  const sample = ({ dtype, domain }: Kind): fc.Arbitrary<Sample> =>
    any
      .shape(ranks)
      .chain((shape) => fc.tuple(any.tensor(shape, dtype, domain), moves(shape)))
      .map(([x, move]) => ({ inputs: { x }, op: ({ x: value }) => move(value as tf.Tensor) }));
  return { kernel, dtypes: ALL, gradient: GRADIENT, sample, ...rest };
}

/** One pair of small numbers per axis. */
const pairs = (shape: readonly number[], most: (size: number) => number): fc.Arbitrary<[number, number][]> =>
  fc.tuple(...shape.map((size) => fc.tuple(fc.nat({ max: most(size) }), fc.nat({ max: most(size) }))));

const MOVES: readonly KernelCase[] = [
  moving("Reshape", (shape) =>
    fc.constantFrom<Move[]>(
      (x) => tf.reshape(x, [sizeOf(shape)]),
      (x) => tf.reshape(x, [1, sizeOf(shape), 1]),
      (x) => tf.reshape(x, [...shape.slice(1), shape[0] ?? 1]),
    ),
  ),
  moving("ExpandDims", (shape) =>
    fc.integer({ min: -shape.length - 1, max: shape.length }).map((at) => (x) => tf.expandDims(x, at)),
  ),
  moving(
    "Transpose",
    (shape) =>
      fc
        .shuffledSubarray(
          shape.map((_, i) => i),
          { minLength: shape.length },
        )
        .map((perm) => (x) => tf.transpose(x, perm)),
    { ranks: { min: 2 } },
  ),
  moving(
    "Slice",
    (shape) =>
      fc
        .tuple(
          ...shape.map((size) =>
            fc
              .nat({ max: size })
              .chain((begin) => fc.tuple(fc.constant(begin), fc.integer({ min: -1, max: size - begin }))),
          ),
        )
        .map(
          (parts) => (x) =>
            tf.slice(
              x,
              parts.map(([begin]) => begin),
              parts.map(([, size]) => size),
            ),
        ),
    { ranks: { min: 1 } },
  ),
  moving("StridedSlice", stridedSlices, { ranks: { min: 1, max: 4 } }),
  moving("StridedSlice", () => fc.constantFrom(...MASKED), {
    ranks: { min: 3, max: 3, smallest: 2 },
    label: "with masks",
  }),
  moving(
    "PadV2",
    (shape) => pairs(shape, () => 2).map((paddings) => (x) => tf.pad(x, paddings, x.dtype === "bool" ? 1 : 3)),
    { ranks: { min: 1, max: 4 } },
  ),
  moving(
    "MirrorPad",
    (shape) =>
      fc
        .constantFrom("reflect" as const, "symmetric" as const)
        .chain((mode) =>
          pairs(shape, (size) => (mode === "reflect" ? size - 1 : size)).map(
            (paddings) => (x: tf.Tensor) => tf.mirrorPad(x, paddings, mode),
          ),
        ),
    { ranks: { min: 1, max: 4, smallest: 1 } },
  ),
  moving(
    "Tile",
    (shape) => fc.tuple(...shape.map(() => fc.integer({ min: 0, max: 3 }))).map((reps) => (x) => tf.tile(x, reps)),
    { ranks: { min: 1, max: 4 } },
  ),
  moving(
    "Tile",
    (shape) =>
      fc
        .tuple(
          fc.array(fc.integer({ min: 2, max: 3 }), { minLength: 1, maxLength: 2 }),
          ...shape.map(() => fc.integer({ min: 1, max: 3 })),
        )
        .map(
          ([leading, ...sizes]) =>
            (x) =>
              tf.broadcastTo(x, [...leading, ...shape.map((size, i) => (size === 1 ? (sizes[i] as number) : size))]),
        ),
    { ranks: { max: 3, smallest: 1 }, label: "of broadcastTo" },
  ),
  moving("Reverse", (shape) => any.axes(shape.length).map((axes) => (x) => tf.reverse(x, axes)), { ranks: { min: 1 } }),
  moving("Unpack", (shape) => any.axis(shape.length).map((axis) => (x) => tf.unstack(x, axis)), {
    ranks: { min: 1, smallest: 1 },
  }),
  moving(
    "SplitV",
    (shape) =>
      any.axis(shape.length).chain((axis) => {
        const size = shape.at(axis < 0 ? axis : axis) as number;
        return fc
          .nat({ max: size })
          .chain((first) => fc.constantFrom<(number | number[])[]>(size, 1, [first, size - first], [first, -1]))
          .map((sizes) => (x: tf.Tensor) => tf.split(x, sizes, axis));
      }),
    { ranks: { min: 1, smallest: 1 } },
  ),
  moving("Diag", () => fc.constant(tf.diag), { ranks: { min: 1, max: 3 } }),
  moving(
    "DepthToSpace",
    () =>
      fc.constant((x) =>
        tf.depthToSpace(tf.reshape(tf.tile(tf.reshape(x, [-1]), [8]), [1, -1, 2, 4]) as tf.Tensor4D, 2),
      ),
    { ranks: { min: 1, smallest: 1 }, dtypes: ["float32"] },
  ),
  moving(
    "SpaceToBatchND",
    () =>
      fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 2 })).map(([first, second]) => (x) => {
        const [, height = 0, width = 0] = x.shape;
        const fill = (size: number, block: number): number => (block - (size % block)) % block;
        return tf.spaceToBatchND(
          x,
          [first, second],
          [
            [0, fill(height, first)],
            [fill(width, second), 0],
          ],
        );
      }),
    { ranks: { min: 3, max: 4, smallest: 1 } },
  ),
  moving(
    "BatchToSpaceND",
    () =>
      fc
        .tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 3 }), fc.nat({ max: 1 }))
        .map(([first, second, crop]) => (x) => {
          const batches = tf.tile(x, [first * second, ...x.shape.slice(1).map(() => 1)]);
          return tf.batchToSpaceND(
            batches,
            [first, second],
            [
              [0, crop],
              [0, 0],
            ],
          );
        }),
    { ranks: { min: 3, max: 4, smallest: 1 } },
  ),
];

/** Begins, ends and steps of stretches of every axis, some counted from the end, with masks that make begins and ends not count. */
function stridedSlices(shape: readonly number[]): fc.Arbitrary<Move> {
  const perAxis = (size: number) =>
    fc
      .tuple(fc.nat({ max: size }), fc.nat({ max: size }), fc.constantFrom(1, 2, 3, -1, -2), fc.boolean())
      .map(([a, b, step, fromEnd]) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const [begin, end] = step > 0 ? [low, high] : [high - 1, low - 1];
        const shift = (place: number): number => (place < 0 || (fromEnd && place < size) ? place - size : place);
        return { begin: shift(begin), end: shift(end), step };
      });
  const mask = fc.nat({ max: 2 ** shape.length - 1 });
  return fc.tuple(fc.tuple(...shape.map(perAxis)), mask, mask).map(([parts, beginMask, endMask]) => {
    const begins = parts.map(({ begin }) => begin);
    const ends = parts.map(({ end }) => end);
    const steps = parts.map(({ step }) => step);
    return (x) => tf.stridedSlice(x, begins, ends, steps, beginMask, endMask);
  });
}

/** An ellipsis, new axes and axes that are dropped, on a tensor of rank 3. */
const MASKED: readonly Move[] = [
  (x) => tf.stridedSlice(x, [1, 0], [2, 1], [1, 1], 0, 0, 0, 0, 3),
  (x) => tf.stridedSlice(x, [0, -1], [0, 0], [1, 1], 0, 0, 1, 0, 2),
  (x) => tf.stridedSlice(x, [0, 0, 1], [0, 0, 2], [1, 1, 1], 0, 0, 2, 1, 0),
  (x) => tf.stridedSlice(x, [1], [2], [1], 0, 0, 0, 0, 1),
];

const several = (kernel: string, op: (list: tf.Tensor[], axis: number) => tf.Tensor, extra: 0 | 1): KernelCase => ({
  kernel,
  dtypes: ALL,
  gradient: GRADIENT,
  sample: ({ dtype, domain }) =>
    any
      .shape({ min: 1 - extra, max: 4 })
      .chain((shape) =>
        fc.tuple(
          fc.integer({ min: -shape.length - extra, max: shape.length - 1 + extra }),
          fc.array(any.tensor(shape, dtype, domain), { minLength: 2, maxLength: 3 }),
        ),
      )
      .map(([axis, list]) => ({
        inputs: Object.fromEntries(list.map((x, i) => [`x${i}`, x])),
        op: (named) => op(Object.values(named), axis),
      })),
});

/** Kernels without operands: the result is added to a tensor, so that the program has an argument. */
const generating = (kernel: string, draw: fc.Arbitrary<() => tf.Tensor>): KernelCase => ({
  kernel,
  sample: () =>
    draw.map((make) => ({
      inputs: { zero: any.host("float32", [], [0]) },
      op: ({ zero }) => [make(), zero as tf.Tensor],
    })),
});

const OTHER: readonly KernelCase[] = [
  several("Concat", tf.concat, 0),
  several("Pack", tf.stack, 1),
  generating(
    "Fill",
    fc.tuple(any.shape(), fc.constantFrom(1.5, -2, NaN, Infinity)).map(
      ([shape, value]) =>
        () =>
          tf.fill(shape, value),
    ),
  ),
  generating(
    "Fill",
    fc.tuple(any.shape(), fc.constantFrom("int32" as const, "bool" as const)).map(
      ([shape, dtype]) =>
        () =>
          tf.fill(shape, 1, dtype),
    ),
  ),
  generating(
    "Range",
    fc.tuple(fc.integer({ min: -5, max: 5 }), fc.integer({ min: -5, max: 5 }), fc.constantFrom(1, 2, 3)).map(
      ([start, stop, step]) =>
        () =>
          [tf.range(start, stop, stop < start && step > 1 ? -step : step, "int32")][0] as tf.Tensor,
    ),
  ),
  generating(
    "Range",
    fc.tuple(fc.integer({ min: -5, max: 5 }), fc.integer({ min: 0, max: 8 })).map(
      ([start, length]) =>
        () =>
          tf.range(start, start + length / 2, 0.5),
    ),
  ),
  generating(
    "LinSpace",
    fc.tuple(fc.integer({ min: -5, max: 5 }), fc.integer({ min: -5, max: 5 }), fc.integer({ min: 1, max: 9 })).map(
      ([a, b, n]) =>
        () =>
          tf.linspace(a, b, n),
    ),
  ),
  {
    kernel: "BroadcastArgs",
    sample: () =>
      any.broadcastable().map(([a, b]) => ({
        inputs: { a: any.host("int32", [a.length], a), b: any.host("int32", [b.length], b) },
        op: ({ a: left, b: right }) => tf.broadcastArgs(left as tf.Tensor, right as tf.Tensor),
      })),
  },
];

export const STRUCTURE_CASES: readonly KernelCase[] = [...MOVES, ...OTHER];
