import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { inputOf, sameShape, uniformOf } from "../graph.ts";
import type { NodePass } from "./rewrite.ts";
import { single } from "./rewrite.ts";

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

/** A scale of a product's result becomes the product's own factor. Not 0, nor what is not finite: they make NaN of infinities. */
export const scaleIntoProduct: NodePass = {
  name: "scale-into-product",
  rewrite(node, { add, uses }) {
    const scaled = scaleOf(node);
    const product = scaled?.value.producer;
    if (!scaled || product?.kernel !== "BatchMatMul" || uses(scaled.value) !== 1) return null;
    const alpha = ((product.attributes["alpha"] as number | undefined) ?? 1) * scaled.factor;
    const operands = { a: inputOf(product, "a"), b: inputOf(product, "b") };
    return [add("BatchMatMul", operands, { ...product.attributes, alpha })];
  },
};

/** value·factor or value/(1/factor) with a constant factor, where the value has the shape of the result. */
function scaleOf(node: GraphNode): { readonly value: Value; readonly factor: number } | null {
  if (node.kernel !== "Multiply" && node.kernel !== "RealDiv") return null;
  const [a, b] = node.inputs as [Value, Value];
  const [left, right] = [node.kernel === "Multiply" ? uniformOf(a) : null, uniformOf(b)];
  const value = right === null ? b : a;
  const number = right ?? left;
  const factor = number === null ? 0 : node.kernel === "Multiply" ? number : 1 / number;
  const isUsable = Number.isFinite(factor) && factor !== 0 && sameShape(value.shape, single(node).shape);
  return isUsable ? { value, factor } : null;
}

/** A bias row added to a 2-D product is the third operand of the product. */
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
