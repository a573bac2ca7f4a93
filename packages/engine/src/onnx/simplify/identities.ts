import type { GraphNode, Value } from "../graph.ts";
import { sameShape, uniformOf } from "../graph.ts";
import type { NodePass } from "./rewrite.ts";
import { sameType, single } from "./rewrite.ts";

/** What keeps `a` as it is: a neutral operand on the right, or on either side. */
const NEUTRAL: Readonly<Record<string, { readonly value: number; readonly bothSides: boolean }>> = {
  Add: { value: 0, bothSides: true },
  Sub: { value: 0, bothSides: false },
  Multiply: { value: 1, bothSides: true },
  RealDiv: { value: 1, bothSides: false },
};

/**
 * What changes nothing: x·1, x/1, x + 0, x − 0 (of zeros, only the sign may change), a cast to the own type, a
 * repetition, slice, concatenation or division of one part, and parts put together again as they were.
 * x − x and 0·x stay: they are NaN where x is NaN or infinite.
 */
export const removeIdentities: NodePass = {
  name: "remove-identities",
  rewrite(node) {
    const value = unchanged(node);
    return value === null ? null : [value];
  },
};

function unchanged(node: GraphNode): Value | null {
  const [first] = node.inputs;
  const result = single(node);
  if (first === undefined) return null;
  switch (node.kernel) {
    case "Identity":
      return first;
    case "Cast":
      return first.dtype === result.dtype ? first : null;
    case "Tile":
    case "Slice":
    case "BroadcastTo":
      return sameShape(first.shape, result.shape) ? first : null;
    case "SplitV":
      return node.outputs.length === 1 ? first : null;
    case "Concat":
      return node.inputs.length === 1 ? first : reunited(node, "SplitV");
    case "Pack":
      return reunited(node, "Unpack");
    default:
      return neutral(node);
  }
}

/** What was divided along the same axis into just these parts, in this order. */
function reunited(node: GraphNode, division: string): Value | null {
  const source = node.inputs[0]?.producer;
  if (source?.kernel !== division || source.outputs.length !== node.inputs.length) return null;
  const whole = source.inputs[0] as Value;
  const axisOf = ({ attributes }: GraphNode): number => {
    const axis = attributes["axis"] as number;
    return axis < 0 ? axis + whole.shape.length : axis;
  };
  const inOrder = source.outputs.every((part, i) => part === node.inputs[i]);
  return inOrder && axisOf(source) === axisOf(node) ? whole : null;
}

function neutral(node: GraphNode): Value | null {
  const rule = NEUTRAL[node.kernel];
  const [a, b] = node.inputs as [Value, Value];
  if (rule === undefined) return null;
  // The other operand may make the result larger, or of another type.
  const isResult = (value: Value): boolean => sameType(value, single(node));
  if (uniformOf(b) === rule.value && isResult(a)) return a;
  if (rule.bothSides && uniformOf(a) === rule.value && isResult(b)) return b;
  return null;
}
