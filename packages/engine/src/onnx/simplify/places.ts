import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { inputOf } from "../graph.ts";
import { KernelCall } from "../kernels/definition.ts";
import { ELEMENTWISE } from "../kernels/elementwise.ts";
import { normalizeAxes } from "../kernels/shapes.ts";
import { sliceSize } from "../kernels/structure.ts";
import type { Add } from "./rewrite.ts";
import { single } from "./rewrite.ts";
import type { Selection } from "./selection.ts";
import { along } from "./selection.ts";

const ELEMENTWISE_NAMES: ReadonlySet<string> = new Set([
  ...ELEMENTWISE.map(({ name }) => name),
  "PeftGelu",
  "PeftGeluGrad",
  "PeftGeluTanh",
  "PeftGeluTanhGrad",
  "PeftSilu",
  "PeftSiluGrad",
]);

/** Every element of the result depends on one element of every input, found by broadcasting. */
export function isElementwise({ kernel }: GraphNode): boolean {
  return ELEMENTWISE_NAMES.has(kernel);
}

/** A matrix product, perhaps with a bias row. */
export function isProduct({ kernel }: GraphNode): boolean {
  return kernel === "BatchMatMul" || kernel === "Linear";
}

/** A slice's first places and sizes, one per axis. */
export function rangeOf({ kernel, inputNames, inputs, attributes }: GraphNode): ReturnType<typeof sliceSize> {
  return sliceSize(new KernelCall(kernel, inputNames, inputs, attributes));
}

/** For every input the axis that goes along with an axis of the result; null for an input that is the same for all its places. */
export type Alignment = readonly (number | null)[];

/**
 * What every place of one axis of the result is computed from: the same place of these axes of the inputs, and of
 * nothing else. Null where that is not so, and for every kernel that is not listed here.
 */
export function alignment(node: GraphNode, axis: number): Alignment | null {
  if (isElementwise(node) || node.kernel === "BroadcastTo")
    return node.inputs.map((input) => broadcastAxis(input.shape, single(node).shape, axis));
  return ALIGNMENTS[node.kernel]?.(node, axis) ?? null;
}

type Rule = (node: GraphNode, axis: number) => Alignment | null;

/** Axes are compared from the right; an axis of size 1 is repeated. */
function broadcastAxis(shape: readonly number[], result: readonly number[], axis: number): number | null {
  const own = axis - (result.length - shape.length);
  return own < 0 || shape[own] !== result[axis] ? null : own;
}

/** Of a kernel over the last axis of its first inputs; further ones belong to that axis. */
function rows(count: number): Rule {
  return ({ inputs }, axis) =>
    axis === (inputs[0] as Value).shape.length - 1 ? null : inputs.map((_, i) => (i < count ? axis : null));
}

const product: Rule = (node, axis) => {
  const [a, b, rank] = [inputOf(node, "a"), inputOf(node, "b"), single(node).shape.length];
  const { transposeA, transposeB } = node.attributes;
  if (axis === rank - 2) return [a.shape.length - (transposeA === true ? 1 : 2), null];
  if (axis === rank - 1) return [null, b.shape.length - (transposeB === true ? 2 : 1)];
  const batch = single(node).shape.slice(0, -2);
  return [a, b].map(({ shape }) => broadcastAxis(shape.slice(0, -2), batch, axis));
};

const softmax: Rule = ({ inputs: [x], attributes }, axis) => {
  const dim = attributes["dim"] as number;
  const rank = (x as Value).shape.length;
  return axis === (dim < 0 ? dim + rank : dim) ? null : [axis];
};

const reduction: Rule = (node, axis) => {
  const x = inputOf(node, "x");
  const kept = x.shape.map((_, i) => i).filter((i) => !reducedAxes(node).includes(i));
  if (node.attributes["keepDims"] !== true) return [kept[axis] ?? null];
  return kept.includes(axis) ? [axis] : null;
};

/** The axes of a sum or another reduction. */
export function reducedAxes(node: GraphNode): readonly number[] {
  const { rank, axes } = { rank: inputOf(node, "x").shape.length, axes: node.attributes["axis"] };
  if (axes === null || axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  return normalizeAxes(typeof axes === "number" ? [axes] : (axes as readonly number[]), rank);
}

const ALIGNMENTS: Readonly<Record<string, Rule>> = {
  BatchMatMul: product,
  Softmax: softmax,
  LogSoftmax: softmax,
  Sum: reduction,
  Mean: reduction,
  Transpose: ({ attributes }, axis) => [(attributes["perm"] as readonly number[])[axis] as number],
  Slice: (node, axis) => (single(node).shape[axis] === inputOf(node, "x").shape[axis] ? [axis] : null),
  Concat: ({ inputs, attributes }, axis) => {
    const [own] = normalizeAxes([attributes["axis"] as number], (inputs[0] as Value).shape.length);
    return axis === own ? null : inputs.map(() => axis);
  },
  GatherV2: (node, axis) => {
    if (hasBatches(node)) return null;
    const [x, rank] = [inputOf(node, "x"), inputOf(node, "indices").shape.length];
    const [own] = normalizeAxes([node.attributes["axis"] as number], x.shape.length) as [number];
    if (axis < own) return [axis, null];
    return axis < own + rank ? [null, axis - own] : [axis - rank + 1, null];
  },
  PeftLayerNorm: rows(1),
  PeftNormalize: rows(1),
  PeftLayerNormGrad: rows(2),
  PeftCrossEntropy: (_, axis) => [axis, axis],
  PeftCrossEntropyGrad: (_, axis) => (axis === 0 ? [0, 0, 0] : null),
};

/** A look-up with rows of its own for every batch takes no places of one axis. */
function hasBatches({ attributes }: GraphNode): boolean {
  return (attributes["batchDims"] ?? 0) !== 0;
}

/** What a slice or a look-up takes of its input `x`: places of one axis. Null if it is something else. */
export function selectionBy(node: GraphNode): Selection | null {
  if (node.kernel === "Slice") {
    const { shape } = inputOf(node, "x");
    const { begin, size } = rangeOf(node);
    const cut = shape.flatMap((length, axis) => (length === size[axis] ? [] : [axis]));
    const [axis] = cut;
    if (axis === undefined || cut.length > 1) return null;
    return along(shape, axis, { from: begin[axis] as number, count: size[axis] as number });
  }
  if (node.kernel !== "GatherV2" || hasBatches(node)) return null;
  const { shape } = inputOf(node, "x");
  const [axis] = normalizeAxes([node.attributes["axis"] as number], shape.length) as [number];
  return selectionOf(inputOf(node, "indices"), { shape, axis });
}

/** What these indices select of an axis. Only indices that are given, not computed: they are known wherever the selection is moved to. */
export function selectionOf(
  indices: Value,
  { shape, axis }: { readonly shape: readonly number[]; readonly axis: number },
): Selection | null {
  const count = sizeOf(indices.shape);
  if (count === 0 || indices.producer !== null) return null;
  if (indices.constant === null)
    return indices.shape.length === 1 ? along(shape, axis, { from: indices, count }) : null;
  const { constant } = indices;
  const at = (i: number): number => (constant.kind === "uniform" ? constant.value : (constant.data[i] as number));
  const isRun = Array.from({ length: count }, (_, i) => at(i) === at(0) + i).every(Boolean);
  const isInside = at(0) >= 0 && at(0) + count <= (shape[axis] as number);
  return isRun && isInside ? along(shape, axis, { from: at(0), count }) : null;
}

export function isReshape({ kernel }: GraphNode): boolean {
  return kernel === "Reshape" || kernel === "ExpandDims";
}

/** The same call for other inputs, some axis of which is shorter; `shape` is the result's. */
export function resized(node: GraphNode, inputs: readonly Value[], shape: readonly number[], add: Add): Value {
  const [x] = inputs as [Value];
  if (isReshape(node)) return add("Reshape", { x }, { shape });
  if (node.kernel === "BroadcastTo") return add("BroadcastTo", { x }, { shape });
  if (node.kernel === "Slice") return add("Slice", { x }, { begin: rangeOf(node).begin, size: shape });
  const named = Object.fromEntries(node.inputNames.map((name, i) => [name, inputs[i] as Value]));
  return add(node.kernel, named, node.attributes);
}
