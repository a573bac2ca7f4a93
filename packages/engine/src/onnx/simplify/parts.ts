import type { GraphNode, Value } from "../graph.ts";
import { uniformOf } from "../graph.ts";
import { normalizeAxes } from "../kernels/shapes.ts";
import type { Add, NodePass } from "./rewrite.ts";
import { single } from "./rewrite.ts";
import { reshaped } from "./selection.ts";

/**
 * Of a tensor taken apart for one of its parts, the part is a slice; parts of zeros around one other, put together,
 * are a padding. What is known of slices and paddings then holds for them.
 */
export const partsAsSlices: NodePass = {
  name: "parts-as-slices",
  rewrite(node, { add, uses }) {
    if (node.kernel === "Unpack" || node.kernel === "SplitV") {
      const read = node.outputs.flatMap((part, i) => (uses(part) > 0 ? [i] : []));
      const [index] = read;
      if (index === undefined || read.length > 1) return null;
      return node.outputs.map((part, i) => (i === index ? slice(node, index, add) : part));
    }
    if (node.kernel === "Pack" || node.kernel === "Concat") return pad(node, add);
    return null;
  },
};

/** Sizes of the parts along an axis; those of `Pack` and `Unpack` have no such axis and count as 1. */
function sizes(parts: readonly Value[], axis: number, rank: number): number[] {
  return parts.map(({ shape }) => (shape.length < rank ? 1 : (shape[axis] as number)));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function slice(node: GraphNode, index: number, add: Add): Value {
  const x = node.inputs[0] as Value;
  const [axis] = normalizeAxes([node.attributes["axis"] as number], x.shape.length) as [number];
  const lengths = sizes(node.outputs, axis, x.shape.length);
  const begin = x.shape.map((_, i) => (i === axis ? sum(lengths.slice(0, index)) : 0));
  const size = x.shape.with(axis, lengths[index] as number);
  return reshaped(add("Slice", { x }, { begin, size }), (node.outputs[index] as Value).shape, add);
}

function pad(node: GraphNode, add: Add): Value[] | null {
  const others = node.inputs.flatMap((part, i) => (Object.is(uniformOf(part), 0) ? [] : [i]));
  const [index] = others;
  if (index === undefined || others.length > 1) return null;
  const { shape } = single(node);
  const [axis] = normalizeAxes([node.attributes["axis"] as number], shape.length) as [number];
  const lengths = sizes(node.inputs, axis, shape.length);
  const x = reshaped(node.inputs[index] as Value, shape.with(axis, lengths[index] as number), add);
  const around: [number, number] = [sum(lengths.slice(0, index)), sum(lengths.slice(index + 1))];
  const paddings = shape.map((_, i) => (i === axis ? around : [0, 0]));
  return [add("PadV2", { x }, { paddings, constantValue: 0 })];
}
