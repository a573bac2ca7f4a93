import type { Graph, GraphNode, Value } from "../graph.ts";
import { inputOf, sameShape } from "../graph.ts";
import { alignment, isReshape, reducedAxes, resized, selectionBy, selectionOf } from "./places.ts";
import type { GraphPass } from "./rewrite.ts";
import { Draft, single } from "./rewrite.ts";
import type { Selection, Spot } from "./selection.ts";
import { along, isWorthIt, narrowShape, reshaped, sameSelection, select, spotOf, spread } from "./selection.ts";

/** A value that is zero but for some places of an axis: `rows` are these places. */
interface Sparse {
  readonly rows: Value;
  readonly selection: Selection;
}

/**
 * f(pad(x)) = pad(f(x)) where f makes zeros of zeros: the gradient of a slice is zero but for its places, and the
 * products it enters are computed for these places alone. The zeros are written where something needs the whole value.
 * A place of which nothing was read counts as zero even if 0·∞ had made it NaN.
 */
export const skipZeroRows: GraphPass = {
  name: "skip-zero-rows",
  run(graph) {
    if (!graph.nodes.some((node) => paddedSelection(node) !== null)) return graph;
    const draft = new Draft(graph);
    const walk = new SparseWalk(draft, shortestLookUps(graph));
    for (const node of graph.nodes) walk.visit(node);
    for (const { value } of graph.outputs) walk.whole(value);
    return draft.finish();
  },
};

/** Operands in which a kernel is linear, place by place or in a sum over places. */
const LINEAR: Readonly<Record<string, readonly string[]>> = {
  Multiply: ["a", "b"],
  RealDiv: ["a"],
  Neg: ["x"],
  Sum: ["x"],
  Mean: ["x"],
  Transpose: ["x"],
  Slice: ["x"],
  BatchMatMul: ["a", "b"],
  EluGrad: ["dy"],
  PeftGeluGrad: ["dy"],
  PeftLayerNormGrad: ["dy"],
  PeftCrossEntropyGrad: ["dy"],
};

const SUMS: ReadonlySet<string> = new Set(["Add", "Sub", "AddN"]);

class SparseWalk {
  readonly #draft: Draft;
  /** By value of the old graph. */
  readonly #sparse = new Map<Value, Sparse>();
  readonly #written = new Set<Value>();
  readonly #lookUps: ReadonlyMap<Value, number>;

  constructor(draft: Draft, lookUps: ReadonlyMap<Value, number>) {
    this.#draft = draft;
    this.#lookUps = lookUps;
  }

  visit(node: GraphNode): void {
    const sparse = this.#source(node) ?? this.#sum(node) ?? this.#linear(node);
    const whole = sparse === null ? this.#contraction(node) : null;
    if (sparse !== null) this.#sparse.set(single(node), sparse);
    else if (whole !== null) this.#draft.replace(node, [whole]);
    else {
      for (const input of node.inputs) this.whole(input);
      this.#draft.keep(node);
    }
  }

  /** What stands for a value, with its zeros. */
  whole(value: Value): Value {
    const sparse = this.#sparse.get(value);
    if (sparse !== undefined && !this.#written.has(value)) {
      this.#written.add(value);
      this.#draft.stand(value, spread(sparse.rows, sparse.selection, value.shape, this.#draft.add));
    }
    return this.#draft.current(value);
  }

  #source(node: GraphNode): Sparse | null {
    const selection = paddedSelection(node);
    if (selection === null || !isWorthIt(selection) || !this.#isInside(selection)) return null;
    return { rows: this.whole(inputOf(node, "x")), selection };
  }

  /** Indices with which the forward pass looked something up are places of what it looked up; others may lie outside. */
  #isInside({ from, length }: Selection): boolean {
    return typeof from === "number" || (this.#lookUps.get(from) ?? Number.POSITIVE_INFINITY) <= length;
  }

  /** Sums and differences of values that are zero at the same places, and reshapes. */
  #sum(node: GraphNode): Sparse | null {
    const operands = node.inputs.map((input) => this.#sparse.get(input));
    const [first] = operands;
    if (first === undefined || !(SUMS.has(node.kernel) || isReshape(node))) return null;
    const { selection } = first;
    const { shape } = single(node);
    const aligned = operands.every((operand) => operand !== undefined && sameSelection(operand.selection, selection));
    const fits = isReshape(node) || node.inputs.every((input) => sameShape(input.shape, shape));
    if (!aligned || !fits || spotOf(selection, shape) === null) return null;
    const rows = operands.map((operand) => (operand as Sparse).rows);
    return { rows: resized(node, rows, narrowShape(selection, shape), this.#draft.add), selection };
  }

  /** A kernel that is linear in an operand of which it keeps the axis. */
  #linear(node: GraphNode): Sparse | null {
    for (const [index, { rows, selection }] of this.#linearOperands(node)) {
      const spot = spotOf(selection, (node.inputs[index] as Value).shape) as Spot;
      const { shape } = single(node);
      const axis = shape.findIndex((_, i) => alignment(node, i)?.[index] === spot.axis);
      const axes = axis < 0 ? null : alignment(node, axis);
      if (axes === null) continue;
      const inputs = node.inputs.map((input, i) => {
        const own = axes[i] ?? null;
        if (i === index) return rows;
        return own === null ? this.whole(input) : this.#picked(input, along(input.shape, own, selection, spot));
      });
      const result = along(shape, axis, selection, spot);
      return { rows: resized(node, inputs, narrowShape(result, shape), this.#draft.add), selection: result };
    }
    return null;
  }

  /** A sum over places, most of which are zero; or the slice that takes just the others. */
  #contraction(node: GraphNode): Value | null {
    for (const [index, { rows, selection }] of this.#linearOperands(node)) {
      const spot = spotOf(selection, (node.inputs[index] as Value).shape) as Spot;
      const own = selectionBy(node);
      if (own !== null && typeof own.from === "number" && sameSelection(own, selection))
        return reshaped(rows, single(node).shape, this.#draft.add);
      if (node.kernel === "Sum" && reducedAxes(node).includes(spot.axis))
        return this.#draft.add("Sum", { x: rows }, node.attributes);
      if (node.kernel === "BatchMatMul") return this.#product(node, index, { rows, selection });
    }
    return null;
  }

  #product(node: GraphNode, index: number, { rows, selection }: Sparse): Value {
    const other = node.inputs[1 - index] as Value;
    const spot = spotOf(selection, (node.inputs[index] as Value).shape) as Spot;
    const picked = this.#picked(other, along(other.shape, innerAxis(node, 1 - index), selection, spot));
    const [a, b] = index === 0 ? [rows, picked] : [picked, rows];
    return this.#draft.add("BatchMatMul", { a, b }, node.attributes);
  }

  #linearOperands(node: GraphNode): [number, Sparse][] {
    return (LINEAR[node.kernel] ?? []).flatMap((name) => {
      const index = node.inputNames.indexOf(name);
      const sparse = this.#sparse.get(node.inputs[index] as Value);
      if (sparse === undefined) return [];
      // Rows that are added up at one place may be multiplied by what lies there, but not by each other.
      const isPlain = typeof sparse.selection.from === "number";
      const others = node.inputs.filter((_, i) => i !== index);
      return isPlain || !others.some((other) => this.#sparse.has(other)) ? [[index, sparse] as [number, Sparse]] : [];
    });
  }

  #picked(value: Value, selection: Selection): Value {
    const sparse = this.#sparse.get(value);
    if (sparse !== undefined && sameSelection(sparse.selection, selection)) return sparse.rows;
    return select(this.whole(value), selection, this.#draft.add);
  }
}

/** The shortest axis that each list of indices is used for. */
function shortestLookUps(graph: Graph): Map<Value, number> {
  const lengths = new Map<Value, number>();
  for (const node of graph.nodes) {
    const selection = node.kernel === "GatherV2" ? selectionBy(node) : null;
    if (selection === null || typeof selection.from === "number") continue;
    const known = lengths.get(selection.from) ?? Number.POSITIVE_INFINITY;
    lengths.set(selection.from, Math.min(known, selection.length));
  }
  return lengths;
}

/** The axis of a product's operand that is summed over. */
function innerAxis(node: GraphNode, index: number): number {
  const transposed = node.attributes[index === 0 ? "transposeA" : "transposeB"] === true;
  return (node.inputs[index] as Value).shape.length - (transposed === (index === 0) ? 2 : 1);
}

/** Where a padding with zeros, or a sum of rows by their index, puts its input. */
function paddedSelection(node: GraphNode): Selection | null {
  const { shape } = single(node);
  if (node.kernel === "UnsortedSegmentSum") {
    const ids = inputOf(node, "segmentIds");
    return ids.shape.length === 1 ? selectionOf(ids, { shape, axis: 0 }) : null;
  }
  if (node.kernel !== "PadV2" || node.attributes["constantValue"] !== 0) return null;
  const x = inputOf(node, "x");
  const padded = shape.flatMap((size, axis) => (size === x.shape[axis] ? [] : [axis]));
  const [axis] = padded;
  if (axis === undefined || padded.length > 1) return null;
  const paddings = node.attributes["paddings"] as readonly (readonly [number, number])[];
  return along(shape, axis, { from: (paddings[axis] as readonly [number, number])[0], count: x.shape[axis] as number });
}
