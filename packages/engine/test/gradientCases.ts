import { float32 } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { GradientCase } from "./gradientHarness.ts";
import { gradientCase as at, indices } from "./gradientHarness.ts";

type T = tf.Tensor;

const STEPS = { beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 };

function strided(
  name: string,
  shape: readonly number[],
  [begin, end, strides]: readonly [number[], number[], number[]],
  masks: Partial<typeof STEPS> = {},
): GradientCase {
  const m = { ...STEPS, ...masks };
  return at(
    `stridedSlice ${name}`,
    (x: T) =>
      tf.stridedSlice(x, begin, end, strides, m.beginMask, m.endMask, m.ellipsisMask, m.newAxisMask, m.shrinkAxisMask),
    [shape],
  );
}

function einsum(equation: string, ...shapes: readonly (readonly number[])[]): GradientCase {
  return at(`einsum ${equation}`, (...xs: T[]) => tf.einsum(equation, ...xs), shapes);
}

/** `name` at given values. */
function exactly(name: string, op: (x: T) => T, data: readonly number[]): GradientCase {
  return { name, op: op as GradientCase["op"], inputs: [float32([...data], [data.length])] };
}

/** Every gradient that the engine registers, with the arguments that tfjs's own fails on. */
export const REGISTERED: readonly GradientCase[] = [
  exactly("abs at 0", tf.abs, [0, 1, -1]),
  exactly("pow at 0 and below", (x) => tf.pow(x, indices([0, 2, 3, 1, 2, 3], [6])), [0, 0, 0, 0, -1.5, -1.5]),
  exactly("cast to int32 and back", (x) => tf.mul(tf.cast(tf.cast(x, "int32"), "float32"), x), [1.4, -2.5, 0.3]),
  exactly("cast to bool and back", (x) => tf.mul(tf.cast(tf.cast(x, "bool"), "float32"), x), [1.4, -2.5, 0.3]),
  at("where, broadcasting", (a: T, b: T) => tf.where(tf.tensor1d([true, false, true]), a, b), [[2, 3], [1]]),
  at("where, rank 5", (a: T, b: T) => tf.where(tf.tensor1d([true, false]), a, b), [
    [1, 1, 2, 1, 2],
    [2, 1, 1, 1, 1],
  ]),

  exactly("max of equal values", (x) => tf.max(tf.concat([x, x])), [1, 3, 2]),
  exactly("min of equal values", (x) => tf.min(tf.stack([x, x]), 0), [1, 3, 2]),
  exactly("prod without zeros", (x) => tf.prod(x), [1.5, -2, 0.5]),
  exactly("prod with one zero", (x) => tf.prod(tf.reshape(x, [3, 2]), 0), [1.5, 0, 0.5, 2, -1, 3]),
  exactly("prod with two zeros", (x) => tf.prod(x), [1.5, 0, 0.5, 0]),
  at("prod over several axes", (x: T) => tf.prod(x, [-1, 0]), [[2, 3, 2]]),
  exactly("cumprod with zeros", (x) => tf.cumprod(x), [2, 0, 3, 0.5, 0, 2]),
  exactly("cumprod, exclusive, with zeros", (x) => tf.cumprod(x, 0, true), [2, 0, 3, 0.5, 0, 2]),
  exactly("cumprod, reverse, with zeros", (x) => tf.cumprod(x, 0, false, true), [2, 0, 3, 0.5, 0, 2]),
  exactly("cumprod, exclusive, reverse, with zeros", (x) => tf.cumprod(x, 0, true, true), [2, 0, 3, 0.5, 0, 2]),
  exactly("topk", (x) => tf.topk(tf.reshape(x, [2, 1, 4]), 2).values, [3, 1, 4, 2, 0.5, 7, 6, 2]),
  exactly("topk of all", (x) => tf.topk(x, 3).values, [2, 3, 1]),

  at("split into one", (x: T) => tf.split(x, 1)[0] as T, [[3, 2]]),
  at("unstack into one", (x: T) => tf.unstack(x)[0] as T, [[1, 3]]),
  at("split, one part used", (x: T) => tf.split(x, [1, 2], -1)[1] as T, [[2, 3]]),
  at("unstack, one part used", (x: T) => tf.unstack(x, -1)[1] as T, [[2, 3]]),
  at("tile, rank 5", (x: T) => tf.tile(x, [2, 1, 1, 3, 2]), [[1, 2, 1, 2, 2]]),
  at("broadcastTo", (x: T) => tf.broadcastTo(x, [2, 3, 2, 2]), [[3, 1, 2]]),
  at("diag", (x: T) => tf.diag(x), [[4]]),
  at("diag of a matrix", (x: T) => tf.diag(x), [[2, 3]]),
  ...(["reflect", "symmetric"] as const).flatMap((mode) => [
    at(`mirrorPad ${mode}`, (x: tf.Tensor3D) => tf.mirrorPad(x, [[1, 1], [0, 2], [0, 0]], mode), [[2, 3, 2]]), // prettier-ignore
    at(`mirrorPad ${mode}, widest`, (x: tf.Tensor1D) => tf.mirrorPad(x, [[2, 2]], mode), [[3]]),
  ]),
  strided(
    "with a step",
    [7, 3],
    [
      [1, 0],
      [7, 3],
      [2, 2],
    ],
  ),
  strided(
    "backwards",
    [7, 2],
    [
      [6, 1],
      [0, -3],
      [-3, -1],
    ],
  ),
  strided("with negative places", [5], [[-4], [-1], [2]]),
  strided(
    "of step 1",
    [4, 3],
    [
      [1, 0],
      [3, 2],
      [1, 1],
    ],
  ),
  strided(
    "with masks",
    [4, 5],
    [
      [2, 3],
      [3, 4],
      [1, 2],
    ],
    { beginMask: 1, endMask: 2 },
  ),
  strided(
    "with a new axis",
    [4, 3],
    [
      [0, 0, 0],
      [4, 1, 3],
      [2, 1, 1],
    ],
    { newAxisMask: 2 },
  ),
  strided(
    "of one row",
    [4, 3],
    [
      [2, 0],
      [3, 3],
      [1, 1],
    ],
    { shrinkAxisMask: 1 },
  ),
  strided(
    "with an ellipsis",
    [2, 3, 5],
    [
      [0, 1],
      [0, 5],
      [1, 2],
    ],
    { ellipsisMask: 1 },
  ),
  at("depthToSpace", (x: tf.Tensor4D) => tf.depthToSpace(x, 2), [[1, 2, 1, 8]]),

  at("gatherND", (x: T) => tf.gatherND(x, indices([1, 0, 0, 1, 1, 0], [3, 2])), [[2, 2, 2]]),
  at("gatherND of one place", (x: T) => tf.gatherND(x, indices([1, 0])), [[2, 2, 2]]),
  at("gatherND of elements", (x: T) => tf.gatherND(x, indices([2, 0, 2, 1], [2, 2, 1])), [[3]]),
  at("scatterND", (u: T) => tf.scatterND(indices([3, 1, 3], [3, 1]), u, [4, 2]), [[3, 2]]),
  at("scatterND of elements", (u: T) => tf.scatterND(indices([0, 1, 1, 1, 0, 1], [3, 2]), u, [2, 2]), [[3]]),
  // The cpu kernel writes into its argument: it gets a copy.
  at("tensorScatterUpdate", (t: T, u: T) => tf.tensorScatterUpdate(tf.add(t, 0), indices([3, 1], [2, 1]), u), [
    [4, 2],
    [2, 2],
  ]),
  at("tensorScatterUpdate, twice", (t: T, u: T) => tf.tensorScatterUpdate(tf.add(t, 0), indices([1, 1, 0], [3, 1]), u), [[3], [3]]), // prettier-ignore
  at("unsortedSegmentSum", (x: T) => tf.unsortedSegmentSum(x, tf.tensor1d([1, -1, 0, 7, 1], "int32"), 3), [[5, 2]]),
  at("gather by what was computed", (x: T) => tf.gather(x, tf.argMax(x)), [[4]]),

  einsum("ij,jk->ik", [2, 3], [3, 2]),
  einsum("bhqd,bhkd->bhqk", [1, 2, 3, 2], [1, 2, 2, 2]),
  einsum("ij,jk->ki", [2, 3], [3, 2]),
  einsum("i,j->ij", [2], [3]),
  einsum("ij,ij->", [2, 3], [2, 3]),
  einsum("ij->ji", [2, 3]),
  einsum("ijk->j", [2, 3, 2]),
  einsum("ij->", [2, 3]),
  einsum("ijk,jl->il", [2, 3, 2], [3, 2]),
  einsum("ij, jk -> i", [2, 3], [3, 2]),
  einsum("j,jk->", [3], [3, 2]),

  at("batchNorm", (x: tf.Tensor2D, m: tf.Tensor1D, v: tf.Tensor1D, o: tf.Tensor1D, s: tf.Tensor1D) => tf.batchNorm(x, m, v, o, s), [[3, 2], [2], [2], [2], [2]]), // prettier-ignore
  at("batchNorm, statistics of rank 4", (x: T, m: T, v: T, o: T, s: T) => tf.batchNorm(x, m as tf.Tensor1D, v as tf.Tensor1D, o as tf.Tensor1D, s as tf.Tensor1D), [[2, 1, 2, 2], [1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2]]), // prettier-ignore
  at("avgPool across the border", (x: tf.Tensor4D) => tf.avgPool(x, [3, 2], [1, 2], "same"), [[1, 4, 3, 2]]),
  at("avgPool inside", (x: tf.Tensor4D) => tf.avgPool(x, 2, 1, "valid"), [[1, 3, 4, 1]]),
  at("avgPool with its own border", (x: tf.Tensor4D) => tf.avgPool(x, 3, 2, 1), [[1, 4, 5, 1]]),
  at("avgPool3d across the border", (x: tf.Tensor5D) => tf.avgPool3d(x, 2, [1, 2, 1], "same"), [[1, 2, 3, 3, 1]]),
];

/** Conditions that depend on x through kernels without a derivative. */
const CONDITIONS: Readonly<Record<string, (x: T) => T>> = {
  equal: (x) => tf.equal(x, 0.5),
  notEqual: (x) => tf.notEqual(x, 0.5),
  greater: (x) => tf.greater(x, 0),
  greaterEqual: (x) => tf.greaterEqual(0.7, x),
  less: (x) => tf.less(x, tf.mean(x)),
  lessEqual: (x) => tf.lessEqual(tf.mul(x, x), x),
  logicalAnd: (x) => tf.logicalAnd(tf.greater(x, 0), tf.less(x, 1)),
  logicalOr: (x) => tf.logicalOr(tf.less(x, 0), tf.greater(x, 1)),
  logicalNot: (x) => tf.logicalNot(tf.greater(x, 0)),
  logicalXor: (x) => tf.logicalXor(tf.greater(x, 0), tf.greater(x, 1)),
  isNaN: (x) => tf.isNaN(tf.log(x)),
  isInf: (x) => tf.isInf(tf.mul(x, 1e38)),
  isFinite: (x) => tf.isFinite(tf.log(x)),
  all: (x) => tf.all(tf.greater(x, 0)),
  any: (x) => tf.any(tf.greater(x, 0)),
  argMax: (x) => tf.equal(tf.range(0, x.size, 1, "int32"), tf.argMax(x)),
  argMin: (x) => tf.equal(tf.range(0, x.size, 1, "int32"), tf.argMin(x)),
  floor: (x) => tf.equal(tf.floor(x), 0),
  floorDiv: (x) => tf.equal(tf.floorDiv(x, 0.9), 0),
  integers: (x) => tf.greaterEqual(tf.cast(tf.mul(x, 2), "int32"), tf.argMax(x)),
  bitwiseAnd: (x) => tf.equal(tf.bitwiseAnd(tf.argMax(x), tf.argMin(x)), tf.range(0, x.size, 1, "int32")),
  searchSorted: (x) => tf.equal(tf.searchSorted(x, x), tf.range(0, x.size, 1, "int32")),
};

/** x² where the condition holds, else x. */
export const BRANCHES: readonly GradientCase[] = Object.entries(CONDITIONS).map(([name, condition]) => ({
  name,
  op: ((x: T) => tf.where(condition(x), tf.square(x), x)) as GradientCase["op"],
  inputs: [float32([-1.2, -0.3, 0.4, 0.6, 1.3], [5])],
}));
