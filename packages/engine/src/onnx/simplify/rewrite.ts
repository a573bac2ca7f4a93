import type { Attributes, Graph, GraphNode, Value as GraphValue } from "../graph.ts";
import { sameShape, Value } from "../graph.ts";
import { KernelCall } from "../kernels/definition.ts";
import { KERNELS } from "../kernels/registry.ts";

/** Adds a kernel call and returns its only result. */
export type Add = (kernel: string, inputs: Readonly<Record<string, GraphValue>>, attributes?: Attributes) => GraphValue;

/** What a pass may ask and do while it looks at one node. */
export interface Rewriter {
  readonly add: Add;
  /** How many nodes and results read the value in the graph before the pass. */
  uses(value: GraphValue): number;
}

/** A pass replaces results of single nodes; null leaves the node as it is. */
export interface NodePass {
  readonly name: string;
  rewrite(node: GraphNode, rewriter: Rewriter): readonly GraphValue[] | null;
}

/** A pass that has to see more than one node at a time. */
export interface GraphPass {
  readonly name: string;
  run(graph: Graph): Graph;
}

export type Pass = NodePass | GraphPass;

/**
 * Runs one pass, then drops what no result needs. Where it has nothing to do the graph stays the same object. The graph
 * is used up: its values know the nodes of the new one as their producers.
 */
export function applyPass(graph: Graph, pass: Pass): Graph {
  const result = "run" in pass ? pass.run(graph) : rewriteNodes(graph, pass);
  return result === graph ? graph : withoutDeadNodes(result);
}

function rewriteNodes(graph: Graph, pass: NodePass): Graph {
  const draft = new Draft(graph);
  const origin = new Map<GraphValue, GraphValue>();
  let counted: Map<GraphValue, number> | undefined;
  const uses = (value: GraphValue): number => {
    counted ??= countUses(graph);
    return counted.get(origin.get(value) ?? value) ?? 0;
  };
  let isSame = true;
  for (const old of graph.nodes) {
    const node = draft.renewed(old);
    const before = draft.nodes.length;
    const results = pass.rewrite(node, { add: draft.add, uses });
    if (results === null) {
      draft.nodes.push(node);
      continue;
    }
    isSame = false;
    draft.replace(old, results);
    // A new result has the readers of the old one.
    const added = new Set(draft.nodes.slice(before).flatMap(({ outputs }) => outputs));
    results.forEach((result, i) => void (added.has(result) && origin.set(result, old.outputs[i] as GraphValue)));
  }
  return isSame ? graph : draft.finish();
}

/** A graph in the making: new nodes in order, and what stands for the values of the old graph. */
export class Draft {
  readonly nodes: GraphNode[] = [];
  readonly #graph: Graph;
  readonly #replaced = new Map<GraphValue, GraphValue>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  readonly add: Add = (kernel, inputs, attributes = {}) => {
    const node = nodeOf(kernel, inputs, attributes);
    this.nodes.push(node);
    return node.outputs[0] as GraphValue;
  };

  /** What stands for a value of the old graph. */
  readonly current = (value: GraphValue): GraphValue => this.#replaced.get(value) ?? value;

  /**
   * The node with the values that stand for its inputs; it is not added. Its results stay the same objects, because
   * what stands for an input has its type: a node that only reads something else changes nothing for its readers.
   */
  renewed(old: GraphNode): GraphNode {
    if (!old.inputs.some((input) => this.#replaced.has(input))) return old;
    return producing({ ...old, inputs: old.inputs.map(this.current) });
  }

  replace(old: GraphNode, results: readonly GraphValue[]): void {
    old.outputs.forEach((output, i) => this.stand(output, results[i] as GraphValue));
  }

  /** Lets a new value stand for one of the old graph. */
  stand(old: GraphValue, value: GraphValue): void {
    if (value === old) return;
    if (!sameType(value, old)) throw new Error(`[${value.shape.join()}] cannot stand for [${old.shape.join()}].`);
    this.#replaced.set(old, value);
  }

  /** Adds the node as it is, but for its inputs. */
  keep(old: GraphNode): void {
    this.nodes.push(this.renewed(old));
  }

  finish(): Graph {
    const outputs = this.#graph.outputs.map((output) => ({ ...output, value: this.current(output.value) }));
    return { inputs: this.#graph.inputs, nodes: this.nodes, outputs };
  }
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

/** How many nodes and results read every value; a node that reads it twice counts twice. */
export function countUses(graph: Graph): Map<GraphValue, number> {
  const uses = new Map<GraphValue, number>();
  const count = (value: GraphValue): void => void uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(count);
  for (const { value } of graph.outputs) count(value);
  return uses;
}

/** A call whose inputs are given by name. */
export function nodeOf(
  kernel: string,
  inputs: Readonly<Record<string, GraphValue>>,
  attributes: Attributes = {},
): GraphNode {
  return makeNode(kernel, Object.keys(inputs), Object.values(inputs), attributes);
}

export function makeNode(
  kernel: string,
  inputNames: readonly string[],
  inputs: readonly GraphValue[],
  attributes: Attributes,
): GraphNode {
  const definition = KERNELS.get(kernel);
  if (definition === undefined) throw new Error(`No definition of kernel ${kernel}.`);
  const types = definition.infer(new KernelCall(kernel, inputNames, inputs, attributes));
  return producing({ kernel, inputNames, inputs, attributes, outputs: types.map((type) => new Value(type)) });
}

/** The node, known to its results. */
export function producing(node: GraphNode): GraphNode {
  for (const output of node.outputs) output.producer = node;
  return node;
}

/** The result of a kernel that has one. */
export function single(node: GraphNode): GraphValue {
  return node.outputs[0] as GraphValue;
}

/** One may stand for the other. */
export function sameType(a: GraphValue, b: GraphValue): boolean {
  return a.dtype === b.dtype && sameShape(a.shape, b.shape);
}
