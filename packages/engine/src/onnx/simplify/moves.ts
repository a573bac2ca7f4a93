import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { sameShape, uniform, uniformOf } from "../graph.ts";
import { isElementwise, rangeOf } from "./places.ts";
import type { Add, NodePass } from "./rewrite.ts";
import { single } from "./rewrite.ts";

/** Reshapes of reshapes, transpositions of transpositions, slices of slices and casts of casts are one each, or none. */
export const shortenChains: NodePass = {
  name: "shorten-chains",
  rewrite(node, { add }) {
    switch (node.kernel) {
      case "Reshape":
      case "ExpandDims":
        return reshape(node, add);
      case "Transpose":
        return transpose(node, add);
      case "Slice":
        return slice(node, add);
      case "Cast":
        return cast(node, add);
      default:
        return null;
    }
  },
};

function reshape(node: GraphNode, add: Add): Value[] | null {
  const { shape } = single(node);
  let source = node.inputs[0] as Value;
  while (source.producer?.kernel === "Reshape" || source.producer?.kernel === "ExpandDims")
    source = source.producer.inputs[0] as Value;
  if (sameShape(source.shape, shape)) return [source];
  if (source === node.inputs[0] && node.kernel === "Reshape") return null;
  return [add("Reshape", { x: source }, { shape })];
}

/** Where no dimension but those of size 1 moves, a transposition is a reshape or nothing. */
function transpose(node: GraphNode, add: Add): Value[] | null {
  const { shape } = single(node);
  const x = node.inputs[0] as Value;
  const inner = x.producer?.kernel === "Transpose" ? x.producer : null;
  const source = inner === null ? x : (inner.inputs[0] as Value);
  const perm = inner === null ? permOf(node) : permOf(node).map((axis) => permOf(inner)[axis] as number);
  const moved = perm.filter((axis) => source.shape[axis] !== 1);
  const inOrder = moved.every((axis, i) => i === 0 || axis > (moved[i - 1] as number));
  if (inOrder) return [sameShape(source.shape, shape) ? source : add("Reshape", { x: source }, { shape })];
  return inner === null ? null : [add("Transpose", { x: source }, { perm })];
}

function permOf({ attributes }: GraphNode): readonly number[] {
  return attributes["perm"] as readonly number[];
}

function slice(node: GraphNode, add: Add): Value[] | null {
  const inner = node.inputs[0]?.producer;
  if (inner?.kernel !== "Slice") return null;
  const [first, second] = [rangeOf(inner), rangeOf(node)];
  const begin = second.begin.map((from, axis) => from + (first.begin[axis] as number));
  return [add("Slice", { x: inner.inputs[0] as Value }, { begin, size: second.size })];
}

/**
 * Of two casts the first may go only if it loses nothing that the second could see: bool → number keeps both values,
 * and an int32 rounded to float32 is zero just when it was. int32 → float32 → int32 stays (above 2²⁴ it rounds), as do
 * float32 → int32 → float32 (it truncates) and number → bool → number.
 */
function cast(node: GraphNode, add: Add): Value[] | null {
  const inner = node.inputs[0]?.producer;
  if (inner?.kernel !== "Cast") return null;
  const source = inner.inputs[0] as Value;
  const { dtype } = single(node);
  const lossless =
    source.dtype === "bool" || (source.dtype === "int32" && single(inner).dtype === "float32" && dtype === "bool");
  if (!lossless) return null;
  return [source.dtype === dtype ? source : add("Cast", { x: source }, { dtype })];
}

/**
 * A transposition of an elementwise result of transpositions: f(xᵖ, yᵖ)ᑫ = f(xᵖᑫ, yᵖᑫ). Only where nobody else reads
 * them: of the moves of n operands and one result, those of n operands are left, or none where p and q undo each other.
 */
export const joinTranspositions: NodePass = {
  name: "join-transpositions",
  rewrite(node, { add, uses }) {
    const middle = node.inputs[0]?.producer;
    if (node.kernel !== "Transpose" || !middle || !isElementwise(middle) || uses(single(middle)) !== 1) return null;
    const { shape } = single(middle);
    const isMoved = (input: Value): boolean =>
      input.producer?.kernel === "Transpose" && uses(input) === 1 && sameShape(input.shape, shape);
    const isNumber = (input: Value): boolean => uniformOf(input) !== null && sizeOf(input.shape) === 1;
    if (!middle.inputs.some(isMoved) || !middle.inputs.every((input) => isMoved(input) || isNumber(input))) return null;
    const inputs = middle.inputs.map((input) =>
      isMoved(input)
        ? add("Transpose", { x: input }, { perm: permOf(node) })
        : uniform({ shape: [], dtype: input.dtype }, uniformOf(input) as number),
    );
    return [
      add(
        middle.kernel,
        Object.fromEntries(middle.inputNames.map((name, i) => [name, inputs[i] as Value])),
        middle.attributes,
      ),
    ];
  },
};
