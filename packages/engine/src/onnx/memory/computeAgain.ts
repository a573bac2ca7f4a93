import { sizeOf } from "@peftjs/core";
import type { Graph, GraphInput, GraphNode, Value } from "../graph.ts";
import { inputOf } from "../graph.ts";
import { isElementwise, isProduct } from "../simplify/places.ts";
import type { StoredOptions } from "../readStored.ts";
import { gatedBy } from "../simplify/gates.ts";
import { makeNode, single } from "../simplify/rewrite.ts";
import { bytesOf, Lifetimes, rootOf } from "./lifetimes.ts";

/** With the element-wise ones, the operations that cost about as much as reading their operand. */
const NORMALIZATIONS: ReadonlySet<string> = new Set(["PeftLayerNorm", "PeftNormalize"]);
const MOVES: ReadonlySet<string> = new Set(["Reshape", "ExpandDims", "Transpose", "Slice"]);
/** Part of the program's products that may be computed twice: a layer's keys, say. */
const PRODUCT_BUDGET = 0.04;
/** What a product with a matrix of eight bits, and its operand's quantization, cost of the same product of floats. */
const INTEGER_COST = 1 / 3;
/** Below this a value is not worth the operations. */
const WORTH_BYTES = 1 << 18;
const MAX_CHAIN = 5;

/**
 * Values that are cheap to compute and not needed for long around the moment at which most memory is in use (the end of the forward
 * pass) are computed again for those who read them late: the output of a normalisation, whose input is kept anyway, an activation, a
 * dropout mask as float32, and, as far as a small part of the program's time goes, a projection. The second computation is the first one's, so the
 * numbers are the same.
 */
export function computeAgain(graph: Graph, { largest }: StoredOptions = { largest: null }): Graph {
  const lifetimes = new Lifetimes(graph);
  const gated = gatedBy(graph);
  const before = new Map<GraphNode, GraphNode[]>();
  const moved = new Set<Value>();
  const isInteger = ({ storage }: GraphInput): boolean => largest !== null && storage?.type === "int8";
  const integers = new Set(graph.inputs.filter(isInteger).map(({ value }) => value));
  const costOf = (node: GraphNode): number =>
    productCost(node) * (node.inputs.some((input) => integers.has(input)) ? INTEGER_COST : 1);
  // Of the time that floats would take: products of integers are a smaller part of a step, so that more of them may be repeated.
  let budget = PRODUCT_BUDGET * graph.nodes.reduce((sum, node) => sum + productCost(node), 0);
  for (const [value, readers] of lateReaders(graph, lifetimes)) {
    const [first] = readers as [GraphNode, ...GraphNode[]];
    const moment = lifetimes.position.get(first) as number;
    // What some reader may need although a gate is closed cannot wait for what is behind it.
    const isThere = ({ producer }: Value): boolean => {
      const open = gated.get(producer as GraphNode);
      return open === undefined || readers.every((reader) => gated.get(reader) === open);
    };
    const token = tokensOf(first, value, lifetimes).find(isThere) ?? null;
    const chain = token === null ? null : chainOf(value, { lifetimes, moment, moved });
    if (token === null || chain === null) continue;
    const cost = chain.reduce((sum, node) => sum + costOf(node), 0);
    if (cost > budget) continue;
    budget -= cost;
    const { nodes, result } = repeated(chain, token);
    const views = readers.flatMap((reader) => redirect(reader, { from: value, to: result }));
    before.set(first, [...(before.get(first) ?? []), ...nodes, ...views]);
    moved.add(value);
  }
  if (before.size === 0) return graph;
  return { ...graph, nodes: graph.nodes.flatMap((node) => [...(before.get(node) ?? []), node]) };
}

function isRepeatable(node: GraphNode): boolean {
  const { kernel } = node;
  return isElementwise(node) || NORMALIZATIONS.has(kernel) || MOVES.has(kernel) || isProduct(node);
}

/** Multiplications of a matrix product; 0 for other nodes. */
function productCost(node: GraphNode): number {
  if (!isProduct(node)) return 0;
  const inner = inputOf(node, "a").shape.at(node.attributes["transposeA"] === true ? -2 : -1) ?? 0;
  return sizeOf(single(node).shape) * inner;
}

/** The nodes that read a cheap value after the peak although it was made before. In the order of the values. Results of the program stay. */
function lateReaders({ nodes, outputs }: Graph, { position, peak }: Lifetimes): [Value, GraphNode[]][] {
  const results = new Set(outputs.map(({ value }) => rootOf(value)));
  const late = new Map<Value, GraphNode[]>();
  for (const node of nodes.slice(peak + 1)) {
    for (const value of new Set(node.inputs.map(rootOf))) {
      const { producer } = value;
      if (producer === null || results.has(value) || !isRepeatable(producer)) continue;
      if (bytesOf(value) < WORTH_BYTES || (position.get(producer) as number) >= peak) continue;
      late.set(value, [...(late.get(value) ?? []), node]);
    }
  }
  const made = ([{ producer }]: readonly [Value, GraphNode[]]): number => position.get(producer as GraphNode) as number;
  return [...late].sort((a, b) => made(a) - made(b));
}

/** Other operands of the reader that are made after the peak: the second computation waits for one of them. */
function tokensOf(reader: GraphNode, value: Value, { position, peak }: Lifetimes): Value[] {
  const isLate = (input: Value): boolean =>
    rootOf(input) !== value &&
    sizeOf(input.shape) > 0 &&
    input.producer !== null &&
    (position.get(input.producer) ?? Number.POSITIVE_INFINITY) > peak;
  return reader.inputs.filter(isLate);
}

/** The nodes that make the value from what is there at `moment`, or null where keeping that would cost more than half of what is saved. */
function chainOf(
  value: Value,
  {
    lifetimes,
    moment,
    moved,
  }: { readonly lifetimes: Lifetimes; readonly moment: number; readonly moved: ReadonlySet<Value> },
): GraphNode[] | null {
  let kept = 0;
  const chain: GraphNode[] = [];
  const collect = (current: Value, depth: number): boolean => {
    const { producer } = current;
    if (producer === null || chain.includes(producer)) return true;
    if (!moved.has(rootOf(current)) && lifetimes.lastUse(current) >= moment) return true;
    if (depth < MAX_CHAIN && isRepeatable(producer) && producer.inputs.every((input) => collect(input, depth + 1)))
      return chain.push(producer) > 0;
    kept += bytesOf(rootOf(current));
    return true;
  };
  const { producer } = value as { producer: GraphNode };
  if (!producer.inputs.every((input) => collect(input, 1))) return null;
  return kept * 2 > bytesOf(value) ? null : [...chain, producer];
}

/** The chain once more, from operands that are handed on only when the token is there. */
function repeated(chain: readonly GraphNode[], token: Value): { nodes: GraphNode[]; result: Value } {
  const nodes: GraphNode[] = [];
  const renewed = new Map<Value, Value>();
  for (const { kernel, inputNames, inputs, attributes, outputs } of chain) {
    const operands = inputs.map((input) => renewed.get(input) ?? input);
    if (operands.every((operand, i) => operand === inputs[i])) {
      const smallest = operands.toSorted((a, b) => sizeOf(a.shape) - sizeOf(b.shape))[0] as Value;
      const gate = makeNode("PeftAfter", ["x", "token"], [smallest, token], {});
      nodes.push(gate);
      operands[operands.indexOf(smallest)] = single(gate);
    }
    const node = makeNode(kernel, inputNames, operands, attributes);
    nodes.push(node);
    renewed.set(outputs[0] as Value, single(node));
  }
  return { nodes, result: single(nodes.at(-1) as GraphNode) };
}

/** Lets the reader read the new value; returns the views of it that this takes. */
function redirect(reader: GraphNode, { from, to }: { readonly from: Value; readonly to: Value }): GraphNode[] {
  const views: GraphNode[] = [];
  const viewOf = (value: Value): Value => {
    if (value === from) return to;
    const { kernel, inputNames, inputs, attributes } = value.producer as GraphNode;
    const view = makeNode(kernel, inputNames, [viewOf(inputs[0] as Value)], attributes);
    views.push(view);
    return single(view);
  };
  // The graph is this program's own: nobody else sees its nodes change.
  (reader as { inputs: readonly Value[] }).inputs = reader.inputs.map((input) =>
    rootOf(input) === from ? viewOf(input) : input,
  );
  return views;
}
