import { sizeOf } from "@peftjs/core";
import type { GraphNode, Value } from "../graph.ts";
import { inputOf, sameShape, uniform, uniformOf } from "../graph.ts";
import { BINARY_NAMES } from "../kernels/elementwise.ts";
import type { Pass, Rewriter } from "./rewrite.ts";

const FOLDED: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Multiply: (a, b) => a * b,
  RealDiv: (a, b) => a / b,
};

const single = (node: GraphNode): Value => node.outputs[0] as Value;

/** Constants of one repeated value are computed here, in float32 as the program would. */
export const foldUniform: Pass = {
  name: "fold-uniform-constants",
  rewrite(node) {
    const result = single(node);
    if (node.kernel === "ZerosLike") return [uniform(result, 0)];
    if (node.kernel === "OnesLike") return [uniform(result, 1)];
    if (node.kernel === "Fill") return [uniform(result, node.attributes["value"] as number)];
    const values = node.inputs.map(uniformOf);
    if (values.length === 0 || values.some((value) => value === null)) return null;
    const [a, b] = values as [number, number | undefined];
    if (["Reshape", "ExpandDims", "Identity", "Tile", "Transpose", "Slice"].includes(node.kernel))
      return [uniform(result, a)];
    if (node.kernel === "Cast") return [uniform(result, castValue(a, result.dtype))];
    if (node.kernel === "Neg") return [uniform(result, -a)];
    const folded = FOLDED[node.kernel];
    if (folded === undefined || b === undefined || result.dtype !== "float32") return null;
    return [uniform(result, Math.fround(folded(a, b)))];
  },
};

function castValue(value: number, dtype: Value["dtype"]): number {
  if (dtype === "float32") return value;
  return dtype === "bool" ? Number(value !== 0) : Math.trunc(value);
}

/** x·1, x/1, x + 0, x − 0, casts to the own type, reshapes to the own shape, reshapes of reshapes. */
export const removeIdentities: Pass = {
  name: "remove-identities",
  rewrite(node, rewriter) {
    const result = single(node);
    const [first] = node.inputs;
    if (first === undefined) return null;
    switch (node.kernel) {
      case "Identity":
        return [first];
      case "Cast":
        return first.dtype === result.dtype ? [first] : null;
      case "Transpose":
        return transpose(node, rewriter);
      case "Reshape":
      case "ExpandDims":
        return reshape(node, rewriter);
      case "Tile":
        return sameShape(first.shape, result.shape) ? [first] : null;
      default:
        return neutral(node);
    }
  },
};

const NEUTRAL: Readonly<Record<string, { readonly value: number; readonly bothSides: boolean }>> = {
  Add: { value: 0, bothSides: true },
  Sub: { value: 0, bothSides: false },
  Multiply: { value: 1, bothSides: true },
  RealDiv: { value: 1, bothSides: false },
};

function neutral(node: GraphNode): Value[] | null {
  const rule = NEUTRAL[node.kernel];
  const [a, b] = node.inputs as [Value, Value];
  if (rule === undefined) return null;
  const result = single(node);
  if (uniformOf(b) === rule.value && sameShape(a.shape, result.shape)) return [a];
  if (rule.bothSides && uniformOf(a) === rule.value && sameShape(b.shape, result.shape)) return [b];
  return null;
}

function reshape(node: GraphNode, rewriter: Rewriter): Value[] | null {
  const result = single(node);
  let source = node.inputs[0] as Value;
  while (source.producer?.kernel === "Reshape" || source.producer?.kernel === "ExpandDims")
    source = source.producer.inputs[0] as Value;
  if (sameShape(source.shape, result.shape)) return [source];
  if (source === node.inputs[0] && node.kernel === "Reshape") return null;
  return [rewriter.add("Reshape", { x: source }, { shape: result.shape })];
}

/** A transposition of a transposition is one; where no dimension but those of size 1 moves, it is a reshape or nothing. */
function transpose(node: GraphNode, rewriter: Rewriter): Value[] | null {
  const result = single(node);
  const x = node.inputs[0] as Value;
  const outer = node.attributes["perm"] as readonly number[];
  const inner = x.producer?.kernel === "Transpose" ? x.producer : null;
  const source = inner === null ? x : (inner.inputs[0] as Value);
  const perm =
    inner === null ? outer : outer.map((axis) => (inner.attributes["perm"] as readonly number[])[axis] as number);
  const moved = perm.filter((axis) => source.shape[axis] !== 1);
  const inOrder = moved.every((axis, i) => i === 0 || axis > (moved[i - 1] as number));
  if (inOrder)
    return [
      sameShape(source.shape, result.shape) ? source : rewriter.add("Reshape", { x: source }, { shape: result.shape }),
    ];
  return inner === null ? null : [rewriter.add("Transpose", { x: source }, { perm })];
}

/** A product with ones of a larger shape is a broadcast, and an elementwise consumer of the full shape needs no broadcast at all. */
export const dropBroadcasts: Pass = {
  name: "drop-broadcasts",
  rewrite(node, rewriter) {
    if (!BINARY_NAMES.has(node.kernel)) return null;
    const result = single(node);
    const [a, b] = node.inputs as [Value, Value];
    if (node.kernel === "Multiply") {
      if (uniformOf(b) === 1) return [rewriter.add("BroadcastTo", { x: a }, { shape: result.shape })];
      if (uniformOf(a) === 1) return [rewriter.add("BroadcastTo", { x: b }, { shape: result.shape })];
    }
    const small = (value: Value, other: Value): Value => {
      const source = value.producer?.kernel === "BroadcastTo" ? (value.producer.inputs[0] as Value) : value;
      return sameShape(other.shape, result.shape) ? source : value;
    };
    const [left, right] = [small(a, b), small(b, left0(a, b, result))];
    if (left === a && right === b) return null;
    return [rewriter.add(node.kernel, { a: left, b: right }, node.attributes)];
  },
};

/** If the left operand may lose its broadcast, the right one has to keep the full shape. */
function left0(a: Value, b: Value, result: Value): Value {
  return a.producer?.kernel === "BroadcastTo" && sameShape(b.shape, result.shape) ? (a.producer.inputs[0] as Value) : a;
}

/** A product with a transposed operand reads it as it lies. */
export const transposeIntoProduct: Pass = {
  name: "transpose-into-product",
  rewrite(node, rewriter) {
    if (node.kernel !== "BatchMatMul") return null;
    const [a, b] = [inputOf(node, "a"), inputOf(node, "b")];
    const [left, right] = [swapped(a), swapped(b)];
    if (left === null && right === null) return null;
    return [
      rewriter.add(
        "BatchMatMul",
        { a: left ?? a, b: right ?? b },
        {
          ...node.attributes,
          transposeA: (node.attributes["transposeA"] === true) !== (left !== null),
          transposeB: (node.attributes["transposeB"] === true) !== (right !== null),
        },
      ),
    ];
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

/** A scale on the way into or out of a product becomes the product's own factor. */
export const scaleIntoProduct: Pass = {
  name: "scale-into-product",
  rewrite(node, rewriter) {
    if (node.kernel !== "Multiply" && node.kernel !== "RealDiv") return null;
    const [a, b] = node.inputs as [Value, Value];
    const [value, factor] =
      uniformOf(b) !== null ? [a, uniformOf(b)] : [b, node.kernel === "Multiply" ? uniformOf(a) : null];
    const product = value.producer;
    if (
      factor === null ||
      product?.kernel !== "BatchMatMul" ||
      rewriter.uses(value) !== 1 ||
      !sameShape(value.shape, single(node).shape)
    )
      return null;
    const scale = node.kernel === "Multiply" ? factor : 1 / factor;
    const alpha = ((product.attributes["alpha"] as number | undefined) ?? 1) * scale;
    return [
      rewriter.add(
        "BatchMatMul",
        { a: inputOf(product, "a"), b: inputOf(product, "b") },
        { ...product.attributes, alpha },
      ),
    ];
  },
};

/** A bias row added to a 2-D product is the third operand of the product. */
export const biasIntoProduct: Pass = {
  name: "bias-into-product",
  rewrite(node, rewriter) {
    if (node.kernel !== "Add" || single(node).shape.length !== 2) return null;
    const [a, b] = node.inputs as [Value, Value];
    const match = (product: Value, bias: Value): Value[] | null => {
      const source = product.producer;
      const fits =
        source?.kernel === "BatchMatMul" && product.shape.length === 2 && sameShape(product.shape, single(node).shape);
      if (
        !fits ||
        bias.shape.length > 2 ||
        sizeOf(bias.shape) !== product.shape[1] ||
        bias.shape.at(-1) !== product.shape[1] ||
        rewriter.uses(product) !== 1
      )
        return null;
      return [rewriter.add("Linear", { a: inputOf(source, "a"), b: inputOf(source, "b"), bias }, source.attributes)];
    };
    return match(a, b) ?? match(b, a);
  },
};
