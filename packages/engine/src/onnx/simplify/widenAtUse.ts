import { sizeOf } from "@peftjs/core";
import type { GraphNode } from "../graph.ts";
import { inputOf, Value } from "../graph.ts";
import type { GraphPass } from "./rewrite.ts";
import { Draft, makeNode } from "./rewrite.ts";

/** Below this many values, copies that live to the end of the program cost less than making them again. */
const WORTH_WAITING = 1 << 16;

/**
 * Widens a stored weight anew for every call that reads it, not before the call's other operand is there: a copy in float32 then lives
 * as long as one product. Of a table, only the rows that are looked up are widened.
 */
export const widenAtUse: GraphPass = {
  name: "widen-at-use",
  run(graph) {
    if (!graph.nodes.some(isWidening)) return graph;
    const positions = new Map(graph.nodes.flatMap(({ outputs }, i) => outputs.map((output) => [output, i] as const)));
    const latest = (values: readonly Value[]): Value | undefined =>
      values.toSorted((a, b) => (positions.get(a) ?? -1) - (positions.get(b) ?? -1)).at(-1);
    const draft = new Draft(graph);
    for (const old of graph.nodes) {
      const node = draft.renewed(old);
      const table = node.kernel === "GatherV2" ? wideningOf(inputOf(node, "x")) : null;
      if (table !== null) {
        const [x, indices] = [inputOf(table, "x"), inputOf(node, "indices")];
        const attributes = { ...table.attributes, ...node.attributes };
        draft.replace(old, [draft.add("PeftWidenRows", { x, indices }, attributes)]);
        continue;
      }
      const token = latest(node.inputs.filter(isToken));
      if (token === undefined || !node.inputs.some((input) => waits(input))) {
        draft.nodes.push(node);
        continue;
      }
      const inputs = node.inputs.map((input) => (waits(input) ? widenAfter(input, token, draft) : input));
      const late = makeNode(node.kernel, node.inputNames, inputs, node.attributes);
      draft.nodes.push(late);
      draft.replace(old, late.outputs);
    }
    return draft.finish();
  },
};

function widenAfter(wide: Value, token: Value, { add }: Draft): Value {
  const { attributes, inputs } = wide.producer as GraphNode;
  const { shape } = wide;
  const own = new Value({ shape: [shape.length], dtype: "int32" }, { kind: "data", data: Int32Array.from(shape) });
  return add("PeftWiden", { x: inputs[0] as Value, shape: add("PeftAfter", { x: own, token }) }, attributes);
}

/** What a widening can wait for. */
function isToken(value: Value): boolean {
  return value.constant === null && wideningOf(value) === null && sizeOf(value.shape) > 0;
}

function waits(value: Value): boolean {
  return wideningOf(value) !== null && value.shape.length > 0 && sizeOf(value.shape) >= WORTH_WAITING;
}

function wideningOf({ producer }: Value): GraphNode | null {
  return producer !== null && isWidening(producer) ? producer : null;
}

function isWidening({ kernel }: GraphNode): boolean {
  return kernel === "PeftWiden";
}
