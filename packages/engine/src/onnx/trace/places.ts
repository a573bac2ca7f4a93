import type { Attributes, GraphNode } from "../graph.ts";
import { describeCall } from "./failures.ts";

/**
 * Where recorded calls were made, by the object of their attributes: it goes along when simplification renews a node. An error is
 * kept, not its text: to write the text takes longer than everything else.
 */
const PLACES = new WeakMap<Attributes, Error>();

export function rememberPlace(attributes: Attributes): void {
  PLACES.set(attributes, new Error());
}

/** The call that a node comes from: its own, or, where simplification made the node, the nearest one that it computes from. */
export function describeNode(node: GraphNode): string {
  const seen = new Set<GraphNode>([node]);
  // A set is walked in the order of insertion, and what is added meanwhile comes last: nearest first.
  for (const candidate of seen) {
    const stack = PLACES.get(candidate.attributes)?.stack;
    if (stack !== undefined) {
      const call = describeCall(candidate.kernel, stack);
      return candidate === node ? call : `Kernel ${node.kernel}, made from the result of ${call}`;
    }
    for (const { producer } of candidate.inputs) if (producer !== null) seen.add(producer);
  }
  return `Kernel ${node.kernel}`;
}
