import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { inputOf, sameShape, uniform, uniformOf } from "../graph.ts";
import { isReshape } from "./places.ts";
import type { Add, NodePass } from "./rewrite.ts";
import { sameType, single } from "./rewrite.ts";

/** A product with a transposed operand reads it as it lies. */
export const transposeIntoProduct: NodePass = {
  name: "transpose-into-product",
  rewrite(node, { add }) {
    if (node.kernel !== "BatchMatMul") return null;
    const [a, b] = [inputOf(node, "a"), inputOf(node, "b")];
    const [left, right] = [swapped(a), swapped(b)];
    if (left === null && right === null) return null;
    const transposeA = (node.attributes["transposeA"] === true) !== (left !== null);
    const transposeB = (node.attributes["transposeB"] === true) !== (right !== null);
    const operands = { a: left ?? a, b: right ?? b };
    return [add("BatchMatMul", operands, { ...node.attributes, transposeA, transposeB })];
  },
};

/** What a transposition of the last two axes alone was applied to. */
function swapped(value: Value): Value | null {
  if (value.producer?.kernel !== "Transpose") return null;
  const perm = value.producer.attributes["perm"] as readonly number[];
  const rank = perm.length;
  const swapsLast = perm.every((axis, i) => axis === (i === rank - 1 ? rank - 2 : i === rank - 2 ? rank - 1 : i));
  return swapsLast && rank >= 2 ? (value.producer.inputs[0] as Value) : null;
}

/**
 * A scale of a product's result or of its operand becomes the product's own factor, also if reshapes and transpositions
 * lie between result and scale. Not 0, nor what is not finite: they make NaN of infinities.
 */
export const scaleIntoProduct: NodePass = {
  name: "scale-into-product",
  rewrite(node, { add, uses }) {
    if (node.kernel === "BatchMatMul") return scaledOperands(node, add);
    const scale = scaleOf(node);
    if (scale === null) return null;
    const moves: GraphNode[] = [];
    let value = scale.value;
    for (; uses(value) === 1 && isMove(value.producer); value = value.producer.inputs[0] as Value)
      moves.unshift(value.producer);
    const product = value.producer;
    if (product?.kernel !== "BatchMatMul" || uses(value) !== 1) return null;
    return [moves.reduce((x, move) => moved(move, x, add), scaledProduct(product, scale.factor, product.inputs, add))];
  },
};

/** A scale behind a reshape or a transposition instead of before it, closer to the product that can take it up. */
export const scaleBehindMoves: NodePass = {
  name: "scale-behind-moves",
  rewrite(node, { add, uses }) {
    const x = node.inputs[0];
    if (!isMove(node) || x === undefined || uses(x) !== 1) return null;
    const scale = x.producer === null ? null : scaleOf(x.producer);
    if (scale === null) return null;
    const factor = uniform({ shape: [], dtype: "float32" }, scale.factor);
    return [add("Multiply", { a: moved(node, scale.value, add), b: factor })];
  },
};

function scaledOperands(node: GraphNode, add: Add): Value[] | null {
  const scales = node.inputs.map(({ producer }) => (producer === null ? null : scaleOf(producer)));
  if (scales.every((scale) => scale === null)) return null;
  const factor = scales.reduce((product, scale) => product * (scale?.factor ?? 1), 1);
  const operands = node.inputs.map((input, i) => scales[i]?.value ?? input);
  return isUsable(factor) ? [scaledProduct(node, factor, operands, add)] : null;
}

function scaledProduct({ attributes }: GraphNode, factor: number, operands: readonly Value[], add: Add): Value {
  const alpha = ((attributes["alpha"] as number | undefined) ?? 1) * factor;
  const [a, b] = operands as [Value, Value];
  return add("BatchMatMul", { a, b }, { ...attributes, alpha });
}

function isMove(node: GraphNode | null): node is GraphNode {
  return node !== null && (node.kernel === "Transpose" || isReshape(node));
}

function moved(move: GraphNode, x: Value, add: Add): Value {
  if (move.kernel === "Transpose") return add("Transpose", { x }, move.attributes);
  return add("Reshape", { x }, { shape: single(move).shape });
}

/** value·factor or value/(1/factor) with a constant factor, where the value has the type of the result. */
function scaleOf(node: GraphNode): { readonly value: Value; readonly factor: number } | null {
  if (node.kernel !== "Multiply" && node.kernel !== "RealDiv") return null;
  const [a, b] = node.inputs as [Value, Value];
  const [left, right] = [node.kernel === "Multiply" ? uniformOf(a) : null, uniformOf(b)];
  const value = right === null ? b : a;
  const number = right ?? left;
  if (number === null || value.dtype !== "float32" || !sameType(value, single(node))) return null;
  const factor = node.kernel === "Multiply" ? number : 1 / number;
  return isUsable(factor) ? { value, factor } : null;
}

function isUsable(factor: number): boolean {
  return Math.fround(factor) !== 0 && Number.isFinite(Math.fround(factor));
}

/**
 * A bias row added to a 2-D product is the third operand of the product. (A whole matrix is not: it is copied before the
 * product, which made a step of 12 × 768 2 to 4 % slower than the addition.)
 */
export const biasIntoProduct: NodePass = {
  name: "bias-into-product",
  rewrite(node, { add, uses }) {
    const { shape } = single(node);
    if (node.kernel !== "Add" || shape.length !== 2) return null;
    const [a, b] = node.inputs as [Value, Value];
    const match = (value: Value, bias: Value): Value[] | null => {
      const product = value.producer;
      const isProduct = product?.kernel === "BatchMatMul" && sameShape(value.shape, shape) && uses(value) === 1;
      const isRow = bias.shape.length <= 2 && sizeOf(bias.shape) === shape[1] && bias.shape.at(-1) === shape[1];
      if (!isProduct || !isRow) return null;
      const operands = { a: inputOf(product, "a"), b: inputOf(product, "b"), bias };
      return [add("Linear", operands, product.attributes)];
    };
    return match(a, b) ?? match(b, a);
  },
};
