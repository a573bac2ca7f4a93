import type { Graph, GraphNode, Value } from "../graph.ts";
import { alignment, isReshape, resized, selectionBy } from "./places.ts";
import type { GraphPass } from "./rewrite.ts";
import { Draft, single } from "./rewrite.ts";
import type { Selection } from "./selection.ts";
import { along, isWorthIt, narrowShape, reshaped, sameSelection, select, spotOf } from "./selection.ts";

/** What the readers of a value need of it. */
type Demand = Selection | "all";

/**
 * slice(f(x)) = f(slice(x)) where f computes every place by itself: a value of which all readers take the same places
 * is computed for these places alone. Demands are collected from the results backwards, then the graph is rebuilt.
 */
export const narrowRows: GraphPass = {
  name: "narrow-rows",
  run(graph) {
    if (!graph.nodes.some((node) => ownSelection(node) !== null)) return graph;
    const demands = demandsOf(graph);
    const draft = new Draft(graph);
    const narrow = new Map<Value, Value>();
    /** Places of a value of the old graph; the value itself may exist for these places only. */
    const picked = (value: Value, selection: Selection): Value => {
      const known = isDemand(demands.get(value), selection) ? narrow.get(value) : undefined;
      if (known !== undefined) return known;
      const taken = select(draft.current(value), selection, draft.add);
      if (isDemand(demands.get(value), selection)) narrow.set(value, taken);
      return taken;
    };
    for (const node of graph.nodes) {
      const own = ownSelection(node);
      const demand = demands.get(single(node)) ?? "all";
      const inputs = own === null && demand !== "all" ? inputSelections(node, demand) : null;
      if (own !== null) {
        const result = reshaped(picked(node.inputs[0] as Value, own), single(node).shape, draft.add);
        draft.replace(node, [result]);
      } else if (inputs !== null && demand !== "all") {
        const shape = narrowShape(demand, single(node).shape);
        const operands = node.inputs.map((input, i) => {
          const selection = inputs[i] ?? null;
          return selection === null ? draft.current(input) : picked(input, selection);
        });
        narrow.set(single(node), resized(node, operands, shape, draft.add));
      } else draft.keep(node);
    }
    return draft.finish();
  },
};

/** A value that something else reads, too, or in another way, is needed as a whole. */
function demandsOf(graph: Graph): Map<Value, Demand> {
  const demands = new Map<Value, Demand>();
  const demand = (value: Value, asked: Demand): void => {
    const known = demands.get(value);
    const same = known === undefined || (asked !== "all" && isDemand(known, asked));
    demands.set(value, same ? asked : "all");
  };
  for (const { value } of graph.outputs) demand(value, "all");
  for (const node of graph.nodes.toReversed()) {
    const own = ownSelection(node);
    const asked = demands.get(single(node)) ?? "all";
    const inputs = own !== null ? [own] : asked === "all" ? null : inputSelections(node, asked);
    node.inputs.forEach((input, i) => demand(input, inputs?.[i] ?? "all"));
  }
  return demands;
}

function ownSelection(node: GraphNode): Selection | null {
  const selection = selectionBy(node);
  return selection !== null && isWorthIt(selection) ? selection : null;
}

function isDemand(demand: Demand | undefined, selection: Selection): boolean {
  return demand !== undefined && demand !== "all" && sameSelection(demand, selection);
}

/** What a node needs of its inputs to compute these places of its result; null for all of one input, or of every input. */
function inputSelections(node: GraphNode, selection: Selection): readonly (Selection | null)[] | null {
  if (node.outputs.length !== 1) return null;
  if (isReshape(node)) return spotOf(selection, (node.inputs[0] as Value).shape) === null ? null : [selection];
  const spot = spotOf(selection, single(node).shape);
  const axes = spot === null ? null : alignment(node, spot.axis);
  if (spot === null || axes === null) return null;
  return axes.map((axis, i) => (axis === null ? null : along((node.inputs[i] as Value).shape, axis, selection, spot)));
}
