import type { GraphNode, Value } from "../graph.ts";
import type { NodePass } from "./rewrite.ts";

/** Calls of the same kernel on the same values are made once. A fresh pass for every graph: it remembers what it saw. */
export function mergeEqualCalls(): NodePass {
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
      const key = `${node.kernel}(${node.inputNames.join()};${node.inputs.map(idOf).join()};${attributesKey(node)})`;
      const earlier = known.get(key);
      if (earlier !== undefined) return earlier.outputs;
      known.set(key, node);
      return null;
    },
  };
}

/** The shape that a reshape is asked for may leave a size open; the result's does not. */
function attributesKey({ kernel, attributes, outputs }: GraphNode): string {
  return JSON.stringify(kernel === "Reshape" ? outputs[0]?.shape : attributes);
}
