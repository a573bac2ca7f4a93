import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { inputOf } from "../graph.ts";
import type { StoredOptions } from "../readStored.ts";
import { isProduct } from "../simplify/places.ts";
import { nodeOf, single } from "../simplify/rewrite.ts";
import type { Reading, StoredArgument } from "./argument.ts";

const given = (name: string, value: Value | null | undefined): Record<string, Value> =>
  value === null || value === undefined ? {} : { [name]: value };

export interface IntegerProductOptions extends StoredOptions {
  readonly place: Reading;
}

/**
 * The product a·W (+ bias) or a·Wᵀ (+ bias) of a matrix a and one of eight bits as a product of integers; null for other products, and
 * where W's gradients are to be float32. The result stays the same value.
 *
 * W = s ⊙ data ⊙ t has factors of what is summed over, which the operand takes up, and factors of the result's columns: a layer's forward pass is
 * y = ((x ⊙ t)·dataᵀ) ⊙ s, its backward pass ∂x = ((∂y ⊙ s)·data) ⊙ t. So one copy of W serves both; a product wants the terms of the
 * sum first, for which the one that finds them last reads a transposed copy that lives no longer than itself.
 */
export function integerProduct(
  node: GraphNode,
  stored: ReadonlyMap<Value, StoredArgument>,
  { largest, place }: IntegerProductOptions,
): GraphNode | null {
  if (largest === null || !isProduct(node)) return null;
  const [a, b] = [inputOf(node, "a"), inputOf(node, "b")];
  const argument = stored.get(b);
  const storage = argument?.storage;
  const isPlain = node.attributes["transposeA"] !== true && a.shape.length === 2 && !stored.has(a);
  if (argument === undefined || storage?.type !== "int8" || !isPlain || sizeOf(single(node).shape) === 0) return null;
  const isTransposed = node.attributes["transposeB"] === true;
  const summedAxis = isTransposed ? 1 : 0;
  const isBackward = storage.axis === summedAxis;
  if (isBackward && storage.backward === "float32") return null;
  const [bias] = node.kernel === "Linear" ? [inputOf(node, "bias")] : [];
  const inputs = {
    a,
    b: isTransposed ? argument.transposed(place) : argument.narrow,
    ...given("terms", isBackward ? storage.scales : storage.inputScales),
    ...given("columns", isBackward ? storage.inputScales : storage.scales),
    ...given("bias", bias),
  };
  // NaN of a gradient mostly has a loss that is NaN, by which training stops: it is not looked for again.
  const attributes = { largest, keepNaN: !isBackward, alpha: node.attributes["alpha"] ?? 1 };
  return { ...nodeOf("PeftIntegerProduct", inputs, attributes), outputs: node.outputs };
}
