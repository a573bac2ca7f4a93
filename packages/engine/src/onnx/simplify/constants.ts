import type { GraphNode, Value } from "../graph.ts";
import { inputOf, sameShape, uniform, uniformOf } from "../graph.ts";
import type { NodePass } from "./rewrite.ts";
import { single } from "./rewrite.ts";

const FOLDED: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Multiply: (a, b) => a * b,
  RealDiv: (a, b) => a / b,
};

/** Kernels that move elements: of equal ones they make equal ones. */
const MOVES: ReadonlySet<string> = new Set([
  "Reshape",
  "ExpandDims",
  "Identity",
  "Tile",
  "Transpose",
  "Slice",
  "BroadcastTo",
  "Reverse",
]);

/** Constants of one repeated value are computed here, in float32 as the program would. */
export const foldUniform: NodePass = {
  name: "fold-uniform-constants",
  rewrite(node) {
    const value = folded(node);
    return value === null ? null : [uniform(single(node), value)];
  },
};

function folded(node: GraphNode): number | null {
  const { dtype } = single(node);
  if (node.kernel === "ZerosLike") return 0;
  if (node.kernel === "OnesLike") return 1;
  if (node.kernel === "Fill") return node.attributes["value"] as number;
  const values = node.inputs.map(uniformOf);
  const [a, b] = values;
  if (a === undefined || values.includes(null)) return null;
  if (MOVES.has(node.kernel)) return a;
  if (node.kernel === "Cast") return castValue(a as number, dtype);
  if (node.kernel === "Neg") return -(a as number);
  const operation = FOLDED[node.kernel];
  if (operation === undefined || b === undefined || dtype !== "float32") return null;
  return Math.fround(operation(a as number, b as number));
}

function castValue(value: number, dtype: Value["dtype"]): number {
  if (dtype === "float32") return value;
  return dtype === "bool" ? Number(value !== 0) : Math.trunc(value);
}

/** A choice whose condition is one repeated constant is the chosen operand. */
export const chooseByConstant: NodePass = {
  name: "choose-by-constant",
  rewrite(node, { add }) {
    if (node.kernel !== "Select") return null;
    const condition = uniformOf(inputOf(node, "condition"));
    if (condition === null) return null;
    const chosen = inputOf(node, condition === 0 ? "e" : "t");
    if (chosen.dtype !== single(node).dtype) return null;
    const { shape } = single(node);
    return [sameShape(chosen.shape, shape) ? chosen : add("BroadcastTo", { x: chosen }, { shape })];
  },
};
