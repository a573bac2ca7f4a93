import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { inputOf, uniform, uniformOf } from "../graph.ts";
import { reducedAxes } from "./places.ts";
import type { Add, NodePass, Rewriter } from "./rewrite.ts";
import { sameType, single } from "./rewrite.ts";
import { reshaped } from "./selection.ts";

/**
 * Scalar algebra that saves passes over memory. No rule makes or removes a NaN or an infinity:
 *
 * - x/c = x·(1/c) where c is a power of two: the same number.
 * - (x·a)·b = x·(a·b) in float32, where a and b are both at most 1 or both at least 1 in size, so that x·a overflows
 *   only if x·a·b does, and a·b is neither zero, denormal nor infinite. One rounding less: within an ulp.
 * - a + (−b) = a − b, (−a) + b = b − a, a − (−b) = a + b, −(−a) = a, −(x·c) = x·(−c): the same numbers.
 * - A sum of several terms leaves out zeros (the sign of a zero may change), and of two terms it is an addition.
 * - A sum of sums over axes is one over all of them: in another order, as every reduction is free to choose.
 */
export const simplifyAlgebra: NodePass = {
  name: "simplify-algebra",
  rewrite(node, rewriter) {
    const value = RULES[node.kernel]?.(node, rewriter) ?? null;
    return value === null ? null : [value];
  },
};

type Rule = (node: GraphNode, rewriter: Rewriter) => Value | null;

const RULES: Readonly<Record<string, Rule>> = {
  Multiply: (node, { add }) => scaledTwice(node, add),
  RealDiv: (node, { add }) => {
    const divisor = uniformOf(inputOf(node, "b"));
    if (divisor === null || single(node).dtype !== "float32" || !isPowerOfTwo(divisor)) return null;
    return add("Multiply", { a: inputOf(node, "a"), b: withValue(inputOf(node, "b"), 1 / divisor) });
  },
  Neg: (node, { add, uses }) => {
    const x = inputOf(node, "x");
    const negated = negatedBy(x);
    if (negated !== null) return negated;
    const scale = x.producer === null || uses(x) !== 1 ? null : scaleOf(x.producer);
    return scale === null ? null : add("Multiply", { a: scale.value, b: withValue(scale.constant, -scale.factor) });
  },
  Add: (node, { add }) => {
    const [a, b] = [inputOf(node, "a"), inputOf(node, "b")];
    const [left, right] = [negatedBy(a), negatedBy(b)];
    if (right !== null) return add("Sub", { a, b: right });
    return left === null ? null : add("Sub", { a: b, b: left });
  },
  Sub: (node, { add }) => {
    const right = negatedBy(inputOf(node, "b"));
    return right === null ? null : add("Add", { a: inputOf(node, "a"), b: right });
  },
  AddN: (node, { add }) => {
    const terms = node.inputs.filter((input) => uniformOf(input) !== 0);
    const [a, b] = terms as [Value, Value];
    if (terms.length === 0) return uniform(single(node), 0);
    if (terms.length === 1) return a;
    if (terms.length === 2) return add("Add", { a, b });
    if (terms.length === node.inputs.length) return null;
    return add("AddN", Object.fromEntries(terms.map((term, i) => [String(i), term])), node.attributes);
  },
  Sum: sumOfSums,
};

/** −x of a float32 or int32 value that nobody has to negate any more: x. */
function negatedBy(value: Value): Value | null {
  return value.producer?.kernel === "Neg" ? (value.producer.inputs[0] as Value) : null;
}

interface Scale {
  readonly value: Value;
  readonly constant: Value;
  readonly factor: number;
}

function scaleOf(node: GraphNode): Scale | null {
  if (node.kernel !== "Multiply" || single(node).dtype !== "float32") return null;
  const [a, b] = node.inputs as [Value, Value];
  const [value, constant] = uniformOf(b) === null ? [b, a] : [a, b];
  const factor = uniformOf(constant);
  // A factor may make the result larger than the value is.
  return factor === null || !sameType(value, single(node)) ? null : { value, constant, factor };
}

function scaledTwice(node: GraphNode, add: Add): Value | null {
  const outer = scaleOf(node);
  const inner = outer?.value.producer ? scaleOf(outer.value.producer) : null;
  if (outer === null || inner === null) return null;
  const factor = Math.fround(inner.factor * outer.factor);
  const sizes = [Math.abs(inner.factor), Math.abs(outer.factor)];
  const sameSide = sizes.every((size) => size <= 1) || sizes.every((size) => size >= 1);
  if (!sameSide || !isNormal(factor)) return null;
  return add("Multiply", { a: inner.value, b: withValue(outer.constant, factor) });
}

const SMALLEST_NORMAL = 2 ** -126;

function isNormal(value: number): boolean {
  return Number.isFinite(value) && Math.abs(value) >= SMALLEST_NORMAL;
}

function isPowerOfTwo(value: number): boolean {
  return isNormal(value) && isNormal(1 / value) && Number.isInteger(Math.log2(Math.abs(value)));
}

function withValue(constant: Value, value: number): Value {
  return uniform(constant, value);
}

function sumOfSums(node: GraphNode, { add, uses }: Rewriter): Value | null {
  const x = inputOf(node, "x");
  const inner = x.producer;
  if (inner?.kernel !== "Sum" || uses(x) !== 1) return null;
  const source = inputOf(inner, "x");
  const first = reducedAxes(inner);
  // The axes of the source that the inner sum has kept, by their place in its result.
  const kept = source.shape.map((_, axis) => axis).filter((axis) => !first.includes(axis));
  const original = inner.attributes["keepDims"] === true ? source.shape.map((_, axis) => axis) : kept;
  const axis = [...new Set([...first, ...reducedAxes(node).map((own) => original[own] as number)])].sort(
    (p, q) => p - q,
  );
  if (sizeOf(source.shape) === 0) return null;
  return reshaped(add("Sum", { x: source }, { axis, keepDims: false }), single(node).shape, add);
}
