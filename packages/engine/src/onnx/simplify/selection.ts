import { sizeOf } from "@peftjs/core";
import type { Value } from "../graph.ts";
import { sameShape, uniform, uniformOf } from "../graph.ts";
import type { Add } from "./rewrite.ts";

/**
 * Some places of an axis: a tensor is seen as [before, length, after], of whose middle axis `count` places are taken.
 * Because this says where elements lie in memory, a reshape does not change it: position 0 of [B, T, H] is the same
 * selection of [B·T, H].
 */
export interface Selection {
  readonly before: number;
  readonly length: number;
  readonly after: number;
  readonly count: number;
  /** The first of consecutive places, or int32 indices [count]. */
  readonly from: number | Value;
}

/** The axis of a shape that a selection lies in; the axis is seen as [outer, length, inner]. */
export interface Spot {
  readonly axis: number;
  readonly outer: number;
  readonly inner: number;
}

/** Fewer places are less work for everybody only if the rest is worth a slice: at most half of them are kept, and there are some. */
export function isWorthIt({ before, count, length, after }: Selection): boolean {
  return before * after > 0 && 2 * count <= length;
}

export function sameSelection(a: Selection, b: Selection): boolean {
  return (
    a.from === b.from && a.count === b.count && a.before === b.before && a.length === b.length && a.after === b.after
  );
}

/** Places of a whole axis. */
export function along(
  shape: readonly number[],
  axis: number,
  places: Pick<Selection, "count" | "from">,
  { outer, inner }: Pick<Spot, "outer" | "inner"> = { outer: 1, inner: 1 },
): Selection {
  return {
    before: sizeOf(shape.slice(0, axis)) * outer,
    length: (shape[axis] as number) / (outer * inner),
    after: inner * sizeOf(shape.slice(axis + 1)),
    count: places.count,
    from: places.from,
  };
}

/** Where a selection lies in a tensor of this shape; null if it spans several axes. */
export function spotOf({ before, after }: Selection, shape: readonly number[]): Spot | null {
  if (sizeOf(shape) === 0) return null;
  for (let axis = 0; axis < shape.length; axis++) {
    const [outer, inner] = [before / sizeOf(shape.slice(0, axis)), after / sizeOf(shape.slice(axis + 1))];
    if (Number.isInteger(outer) && Number.isInteger(inner)) return { axis, outer, inner };
  }
  return null;
}

/** The shape of what is selected. */
export function narrowShape(selection: Selection, shape: readonly number[]): readonly number[] {
  const spot = spotOf(selection, shape);
  if (spot === null) throw new Error(`A selection does not lie in an axis of [${shape.join(", ")}].`);
  return shape.with(spot.axis, spot.outer * selection.count * spot.inner);
}

/** The selected places of a value, as a tensor of its rank. */
export function select(value: Value, selection: Selection, add: Add): Value {
  const shape = narrowShape(selection, value.shape);
  const constant = uniformOf(value);
  if (constant !== null) return uniform({ shape, dtype: value.dtype }, constant);
  const { before, length, after, count, from } = selection;
  const { axis, outer, inner } = spotOf(selection, value.shape) as Spot;
  const isAxis = outer === 1 && inner === 1;
  const x = isAxis ? value : reshaped(value, [before, length, after], add);
  const at = isAxis ? axis : 1;
  const picked =
    typeof from === "number"
      ? add("Slice", { x }, { begin: x.shape.map((_, i) => (i === at ? from : 0)), size: x.shape.with(at, count) })
      : add("GatherV2", { x, indices: from }, { axis: at, batchDims: 0 });
  return reshaped(picked, shape, add);
}

/** The inverse: the value's places where the selection says, zero elsewhere; indices that occur twice are added. */
export function spread(value: Value, selection: Selection, shape: readonly number[], add: Add): Value {
  const { before, length, after, count, from } = selection;
  const x = reshaped(value, [before, count, after], add);
  if (typeof from === "number") {
    const paddings = [
      [0, 0],
      [from, length - from - count],
      [0, 0],
    ];
    return reshaped(add("PadV2", { x }, { paddings, constantValue: 0 }), shape, add);
  }
  const first = { perm: [1, 0, 2] };
  const rows = add("Transpose", { x }, first);
  const sums = add("UnsortedSegmentSum", { x: rows, segmentIds: from }, { numSegments: length });
  return reshaped(add("Transpose", { x: sums }, first), shape, add);
}

export function reshaped(value: Value, shape: readonly number[], add: Add): Value {
  return sameShape(value.shape, shape) ? value : add("Reshape", { x: value }, { shape });
}
