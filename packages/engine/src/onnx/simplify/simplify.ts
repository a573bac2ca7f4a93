import type { Graph, GraphNode, Value } from "../graph.ts";
import {
  biasIntoProduct,
  dropBroadcasts,
  foldUniform,
  removeIdentities,
  scaleIntoProduct,
  transposeIntoProduct,
} from "./passes.ts";
import type { Pass } from "./rewrite.ts";
import { applyPass, withoutDeadNodes } from "./rewrite.ts";

/** Calls of the same kernel on the same values are made once. A fresh pass for every graph: it remembers what it saw. */
export function mergeEqualCalls(): Pass {
  const ids = new Map<Value, number>();
  const known = new Map<string, GraphNode>();
  const idOf = (value: Value): string => {
    if (value.constant?.kind === "uniform")
      return `${value.dtype}[${value.shape.join()}]=${Object.is(value.constant.value, -0) ? "-0" : value.constant.value}`;
    if (!ids.has(value)) ids.set(value, ids.size);
    return `#${ids.get(value)}`;
  };
  return {
    name: "merge-equal-calls",
    rewrite(node) {
      const key = `${node.kernel}(${node.inputNames.join()};${node.inputs.map(idOf).join()};${JSON.stringify(node.attributes)})`;
      const earlier = known.get(key);
      if (earlier !== undefined) return earlier.outputs;
      known.set(key, node);
      return null;
    },
  };
}

/** Passes in their order; each is tested by itself. */
export function simplify(graph: Graph): Graph {
  const passes = [
    foldUniform,
    removeIdentities,
    dropBroadcasts,
    removeIdentities,
    transposeIntoProduct,
    mergeEqualCalls(),
    scaleIntoProduct,
    biasIntoProduct,
    mergeEqualCalls(),
  ];
  return passes.reduce(applyPass, withoutDeadNodes(graph));
}
