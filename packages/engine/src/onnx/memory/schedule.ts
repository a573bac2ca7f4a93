import type { Graph, GraphNode } from "../graph.ts";

/**
 * Puts the nodes in an order that lets ONNX Runtime run results as soon as it can, and forget what they were made of.
 *
 * ONNX Runtime runs a graph depth first, from the results up: of several results, and of several operands, the one that stands last in
 * the file is computed first. So the deepest come first here. Of the weights' gradients, for one, those of the last layer are known
 * first; a program that began with the first layer's would have to keep all layers' activations to the end.
 */
export function scheduleForRuntime(graph: Graph): Graph {
  const depth = depths(graph);
  const deepestFirst = (nodes: readonly GraphNode[]): GraphNode[] =>
    nodes.toSorted((a, b) => (depth.get(b) as number) - (depth.get(a) as number));
  const read = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  const results = graph.nodes.filter(({ outputs }) => !outputs.some((output) => read.has(output)));
  return { ...graph, nodes: postOrder(deepestFirst(results), (node) => deepestFirst(producersOf(node))) };
}

/** Longest way from an argument to every node. */
function depths({ nodes }: Graph): Map<GraphNode, number> {
  const depth = new Map<GraphNode, number>();
  for (const node of nodes) {
    depth.set(node, 1 + Math.max(0, ...producersOf(node).map((producer) => depth.get(producer) as number)));
  }
  return depth;
}

function producersOf(node: GraphNode): GraphNode[] {
  return [...new Set(node.inputs.flatMap(({ producer }) => (producer === null ? [] : [producer])))];
}

/** Every node after what it needs. Not recursive: a network's graph is thousands of nodes deep. */
export function postOrder<Node>(roots: readonly Node[], above: (node: Node) => readonly Node[]): Node[] {
  const order: Node[] = [];
  const started = new Set<Node>();
  const stack: { readonly node: Node; readonly open: Node[] }[] = [];
  const start = (node: Node): void => {
    if (started.has(node)) return;
    started.add(node);
    stack.push({ node, open: above(node).toReversed() });
  };
  for (const root of roots) {
    start(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.open.pop();
      if (next !== undefined) {
        start(next);
      } else {
        order.push(top.node);
        stack.pop();
      }
    }
  }
  return order;
}
