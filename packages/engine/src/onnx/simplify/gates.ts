import type { Graph, GraphNode, Value } from "../graph.ts";
import { inputOf, uniformOf } from "../graph.ts";
import type { NodePass } from "./rewrite.ts";

/** core's `gate`: `x` where `open` is not 0, else zeros. */
export function isGate({ kernel }: GraphNode): boolean {
  return kernel === "PeftGate";
}

/** The nodes of whose results nothing but gates of one `open` makes use, directly or through others, and that value. */
export function gatedBy({ nodes, outputs }: Graph): ReadonlyMap<GraphNode, Value> {
  /** The gates that a value is needed for; null: it is needed otherwise, too. */
  const needs = new Map<Value, Value | null>();
  const need = (value: Value, by: Value | null): void =>
    void needs.set(value, !needs.has(value) || needs.get(value) === by ? by : null);
  const gated = new Map<GraphNode, Value>();
  for (const { value } of outputs) need(value, null);
  for (const node of nodes.toReversed()) {
    if (isGate(node)) {
      need(inputOf(node, "x"), inputOf(node, "open"));
      need(inputOf(node, "open"), null);
      continue;
    }
    const [by = null, ...more] = new Set(node.outputs.filter((output) => needs.has(output)).map((o) => needs.get(o)));
    const open = more.length === 0 ? by : null;
    if (open !== null) gated.set(node, open);
    for (const input of node.inputs) need(input, open);
  }
  return gated;
}

/** Parts that are put together behind a gate pass one each before: every part is computed as soon as it can be, and what it is made of is forgotten. */
export const gateParts: NodePass = {
  name: "gate-parts",
  rewrite(node, { add, uses }) {
    if (!isGate(node)) return null;
    const [x, open] = [inputOf(node, "x"), inputOf(node, "open")];
    if (x.producer?.kernel !== "Concat" || uses(x) !== 1) return null;
    const parts = x.producer.inputs.map((part) => (uniformOf(part) === 0 ? part : add("PeftGate", { x: part, open })));
    return [add("Concat", Object.fromEntries(parts.entries()), x.producer.attributes)];
  },
};
