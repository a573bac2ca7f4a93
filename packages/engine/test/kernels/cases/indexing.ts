import type { DType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import * as any from "../arbitrary.ts";
import type { KernelCase } from "../describeKernels.ts";

const NUMBERS: readonly DType[] = ["float32", "int32"];
const ALL: readonly DType[] = ["float32", "int32", "bool"];
const GRADIENT = { from: -2, to: 2 };

const at = (list: readonly number[], axis: number): number => list[axis < 0 ? axis + list.length : axis] as number;

/** Rows of `depth` indices into the first dimensions of a shape. */
function pointers(shape: readonly number[], rows: readonly number[], depth: number) {
  const row = fc.tuple(...shape.slice(0, depth).map((size) => fc.nat({ max: size - 1 })));
  const count = sizeOf(rows);
  return fc
    .array(row, { minLength: count, maxLength: count })
    .map((list) => any.host("int32", [...rows, depth], list.flat()));
}

/** A tensor, rows of pointers into it, and the shape of what they point at. */
const pointed = any.shape({ min: 1, max: 4, smallest: 1 }).chain((shape) =>
  fc.tuple(fc.integer({ min: 1, max: shape.length }), any.shape({ min: 1, max: 2 })).chain(([depth, rows]) =>
    pointers(shape, rows, depth).map((indices) => ({
      shape,
      indices,
      rows,
      slices: [...rows, ...shape.slice(depth)],
    })),
  ),
);

const READING: readonly KernelCase[] = [
  {
    kernel: "GatherV2",
    dtypes: ALL,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      any
        .shape({ min: 1, max: 4, smallest: 1 })
        .chain((shape) => fc.tuple(fc.constant(shape), any.axis(shape.length), any.shape({ max: 3 })))
        .chain(([shape, axis, places]) =>
          fc.tuple(any.tensor(shape, dtype, domain), any.indices(places, at(shape, axis)), fc.constant(axis)),
        )
        .map(([x, places, axis]) => ({
          inputs: { x },
          op: ({ x: value }) => tf.gather(value as tf.Tensor, tf.tensor(places.data, [...places.shape], "int32"), axis),
        })),
  },
  {
    kernel: "GatherV2",
    label: "with batches",
    dtypes: ALL,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      any
        .shape({ min: 2, max: 4, smallest: 1 })
        .chain((shape) =>
          fc
            .integer({ min: 1, max: shape.length - 1 })
            .chain((batchDims) =>
              fc.tuple(
                fc.constant(shape),
                fc.constant(batchDims),
                fc.integer({ min: batchDims, max: shape.length - 1 }),
                any.shape({ min: 1, max: 2 }),
              ),
            ),
        )
        .chain(([shape, batchDims, axis, rest]) =>
          fc.tuple(
            any.tensor(shape, dtype, domain),
            any.indices([...shape.slice(0, batchDims), ...rest], at(shape, axis)),
            fc.constant([axis, batchDims] as const),
          ),
        )
        .map(([x, places, [axis, batchDims]]) => ({
          inputs: { x },
          op: ({ x: value }) =>
            tf.gather(value as tf.Tensor, tf.tensor(places.data, [...places.shape], "int32"), axis, batchDims),
        })),
  },
  {
    kernel: "GatherNd",
    dtypes: ALL,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      pointed
        .chain(({ shape, indices }) => fc.tuple(any.tensor(shape, dtype, domain), fc.constant(indices)))
        .map(([x, indices]) => ({
          inputs: { x },
          op: ({ x: value }) => tf.gatherND(value as tf.Tensor, tf.tensor(indices.data, [...indices.shape], "int32")),
        })),
  },
  {
    kernel: "OneHot",
    sample: () =>
      fc
        .tuple(
          any.shape({ max: 3 }).chain((shape) => any.tensor(shape, "int32")),
          fc.integer({ min: 2, max: 4 }),
          fc.constantFrom<(readonly [number, number, DType])[]>([1, 0, "int32"], [2, -1, "float32"], [1, 0, "bool"]),
        )
        .map(([x, depth, [on, off, dtype]]) => ({
          inputs: { x },
          op: ({ x: value }) => tf.oneHot(value as tf.Tensor, depth, on, off, dtype),
        })),
  },
];

const WRITING: readonly KernelCase[] = [
  {
    kernel: "ScatterNd",
    dtypes: NUMBERS,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      pointed
        .chain(({ shape, indices, slices }) =>
          fc.tuple(any.tensor(slices, dtype, domain), fc.constant(indices), fc.constant(shape)),
        )
        .map(([updates, indices, shape]) => ({
          inputs: { updates },
          op: ({ updates: values }) =>
            tf.scatterND(tf.tensor(indices.data, [...indices.shape], "int32"), values as tf.Tensor, shape as [number]),
        })),
  },
  {
    kernel: "TensorScatterUpdate",
    dtypes: ALL,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      any
        .shape({ min: 1, max: 4, smallest: 1 })
        .chain((shape) =>
          fc
            .shuffledSubarray(Array.from({ length: shape[0] as number }, (_, i) => i))
            .chain((rows) =>
              fc.tuple(
                any.tensor(shape, dtype, domain),
                any.tensor([rows.length, ...shape.slice(1)], dtype, domain),
                fc.constant(rows),
              ),
            ),
        )
        .map(([x, updates, rows]) => ({
          inputs: { x, updates },
          op: ({ x: value, updates: written }) =>
            tf.tensorScatterUpdate(
              value as tf.Tensor,
              tf.tensor(rows, [rows.length, 1], "int32"),
              written as tf.Tensor,
            ),
        })),
  },
  {
    // Of int32 rows, tfjs's cpu kernel makes float32 sums.
    kernel: "UnsortedSegmentSum",
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      any
        .shape({ min: 1, max: 4 })
        .chain((shape) =>
          fc.tuple(
            any.tensor(shape, dtype, domain),
            any.indices([shape[0] as number], 6),
            fc.integer({ min: 1, max: 5 }),
          ),
        )
        .map(([x, ids, count]) => ({
          inputs: { x },
          op: ({ x: value }) =>
            tf.unsortedSegmentSum(value as tf.Tensor, tf.tensor1d(ids.data as Int32Array, "int32"), count),
        })),
  },
];

const ORDER: readonly KernelCase[] = [
  {
    kernel: "TopK",
    dtypes: ALL,
    gradient: GRADIENT,
    sample: ({ dtype, domain }) =>
      any
        .shape({ min: 1, smallest: 1 })
        .chain((shape) => fc.tuple(any.tensor(shape, dtype, domain), fc.nat({ max: shape.at(-1) as number })))
        .map(([x, k]) => ({
          inputs: { x },
          op: ({ x: value }) => {
            const { values, indices } = tf.topk(value as tf.Tensor, k);
            return [values, indices];
          },
        })),
  },
  ...(["left", "right"] as const).map((side): KernelCase => ({
    kernel: "SearchSorted",
    label: side,
    dtypes: NUMBERS,
    sample: ({ dtype }) =>
      fc
        .tuple(any.shape({ max: 2, smallest: 1 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 5 }))
        .chain(([rows, n, m]) => fc.tuple(any.tensor([...rows, n], dtype), any.tensor([...rows, m], dtype)))
        .filter(([sequence]) => !Array.from(sequence.data).some(Number.isNaN))
        .map(([sequence, values]) => {
          const n = sequence.shape.at(-1) as number;
          const rows = Array.from({ length: sequence.data.length / n }, (_, i) =>
            Array.from(sequence.data.slice(i * n, (i + 1) * n)).sort((a, b) => a - b),
          );
          return {
            inputs: { sequence: any.host(dtype, sequence.shape, rows.flat()), values },
            op: ({ sequence: sorted, values: searched }) =>
              tf.searchSorted(sorted as tf.Tensor, searched as tf.Tensor, side),
          };
        }),
  })),
  ...(["Bincount", "DenseBincount"] as const).map((kernel): KernelCase => ({
    kernel,
    sample: () =>
      fc
        .tuple(
          any.shape({ min: 1, max: kernel === "Bincount" ? 1 : 2 }),
          fc.integer({ min: 1, max: 6 }),
          fc.boolean(),
          fc.constantFrom<DType[]>("float32", "int32"),
          fc.boolean(),
        )
        .chain(([shape, size, weighted, dtype, once]) =>
          fc.tuple(
            any.indices(shape, 7),
            any.tensor(weighted ? shape : [0], dtype),
            fc.constant({ size, once: once && shape.length === 2 }),
          ),
        )
        .map(([x, weights, { size, once }]) => ({
          inputs: { x, weights },
          op: ({ x: value, weights: counted }) =>
            kernel === "Bincount"
              ? tf.bincount(value as tf.Tensor1D, counted as tf.Tensor1D, size)
              : tf.denseBincount(value as tf.Tensor2D, counted as tf.Tensor2D, size, once),
        })),
  })),
];

export const INDEXING_CASES: readonly KernelCase[] = [...READING, ...WRITING, ...ORDER];
