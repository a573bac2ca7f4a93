import type { Attributes, Graph, GraphNode, Value as GraphValue } from "../graph.ts";
import { Value } from "../graph.ts";
import { KernelCall } from "../kernels/definition.ts";
import { KERNELS } from "../kernels/registry.ts";

/** What a pass may ask and do while it looks at one node. */
export interface Rewriter {
  /** Adds a kernel call and returns its only result. */
  add(kernel: string, inputs: Readonly<Record<string, GraphValue>>, attributes?: Attributes): GraphValue;
  /** How many nodes and results read the value in the graph before the pass. */
  uses(value: GraphValue): number;
}

/** A pass replaces results of single nodes; null leaves the node as it is. */
export interface Pass {
  readonly name: string;
  rewrite(node: GraphNode, rewriter: Rewriter): readonly GraphValue[] | null;
}

/** Runs one pass over the nodes in order, then drops what no result needs. */
export function applyPass(graph: Graph, pass: Pass): Graph {
  const replaced = new Map<GraphValue, GraphValue>();
  const nodes: GraphNode[] = [];
  const uses = countUses(graph);
  const origin = new Map<GraphValue, GraphValue>();
  const current = (value: GraphValue): GraphValue => replaced.get(value) ?? value;
  const rewriter: Rewriter = {
    uses: (value) => uses.get(origin.get(value) ?? value) ?? 0,
    add: (kernel, inputs, attributes = {}) => {
      const node = makeNode(kernel, Object.keys(inputs), Object.values(inputs), attributes);
      nodes.push(node);
      return node.outputs[0] as GraphValue;
    },
  };
  for (const old of graph.nodes) {
    const inputs = old.inputs.map(current);
    const node = inputs.every((input, i) => input === old.inputs[i])
      ? old
      : makeNode(old.kernel, old.inputNames, inputs, old.attributes);
    if (node !== old) node.outputs.forEach((output, i) => origin.set(output, old.outputs[i] as GraphValue));
    const results = pass.rewrite(node, rewriter);
    if (results === null) nodes.push(node);
    old.outputs.forEach((output, i) => {
      const replacement = (results ?? node.outputs)[i] as GraphValue;
      if (replacement !== output) replaced.set(output, replacement);
    });
  }
  const outputs = graph.outputs.map((output) => ({ ...output, value: current(output.value) }));
  return withoutDeadNodes({ inputs: graph.inputs, nodes, outputs });
}

/** Keeps the nodes that some result depends on. */
export function withoutDeadNodes(graph: Graph): Graph {
  const needed = new Set<GraphValue>(graph.outputs.map(({ value }) => value));
  const kept: GraphNode[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    kept.push(node);
    for (const input of node.inputs) needed.add(input);
  }
  return { ...graph, nodes: kept.reverse() };
}

function countUses(graph: Graph): Map<GraphValue, number> {
  const uses = new Map<GraphValue, number>();
  const count = (value: GraphValue): void => void uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(count);
  for (const { value } of graph.outputs) count(value);
  return uses;
}

function makeNode(
  kernel: string,
  inputNames: readonly string[],
  inputs: readonly GraphValue[],
  attributes: Attributes,
): GraphNode {
  const definition = KERNELS.get(kernel);
  if (definition === undefined) throw new Error(`No definition of kernel ${kernel}.`);
  const outputs = definition
    .infer(new KernelCall(kernel, inputNames, inputs, attributes))
    .map((type) => new Value(type));
  const node: GraphNode = { kernel, inputNames, inputs, attributes, outputs };
  for (const output of outputs) output.producer = node;
  return node;
}
