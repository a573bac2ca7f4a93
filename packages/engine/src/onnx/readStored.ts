import { sizeOf } from "@peftjs/core";
import type { Graph, GraphNode, Value } from "./graph.ts";
import { StoredArgument, type Reading } from "./stored/argument.ts";
import { integerProduct } from "./stored/integerProduct.ts";

/** What the program may do with arguments of eight bits. */
export interface StoredOptions {
  /** Largest magnitude of what products of integers multiply with them; null: products are of float32 values. */
  readonly largest: number | null;
}

/**
 * Inserts what reads arguments that are stored in one or two bytes a value; until here they count as float32. Products with a matrix of
 * eight bits are products of integers. Elsewhere, a weight is widened anew in every pass that reads it, and not before the reader's other
 * operand is there: a copy in float32 lives as long as one layer's product. Of a table, only the rows that are looked up are widened.
 */
export function readStored(graph: Graph, options: StoredOptions): Graph {
  const stored = new Map<Value, StoredArgument>();
  const inputs = graph.inputs.map((input) => {
    if (input.storage === undefined) return input;
    const argument = new StoredArgument(input.value, input.storage);
    stored.set(input.value, argument);
    return { ...input, value: argument.narrow };
  });
  if (stored.size === 0) return graph;
  const computed = new Map(
    graph.nodes.flatMap(({ outputs }, position) => outputs.map((value) => [value, position] as const)),
  );
  const nodes = graph.nodes.flatMap((node, position) => reading(node, { position, stored, computed, options }));
  const outputs = graph.outputs.map((output) => {
    const argument = stored.get(output.value);
    if (argument === undefined) return output;
    return { ...output, value: argument.wide({ position: graph.nodes.length, token: null, nodes }) };
  });
  return { inputs, nodes, outputs };
}

interface Context {
  readonly position: number;
  readonly stored: ReadonlyMap<Value, StoredArgument>;
  /** Where in the graph values are computed. */
  readonly computed: ReadonlyMap<Value, number>;
  readonly options: StoredOptions;
}

/** The node as it reads stored arguments, after what it needs for that. Its results stay the same values. */
function reading(node: GraphNode, { position, stored, computed, options }: Context): GraphNode[] {
  const rows = node.kernel === "GatherV2" ? stored.get(node.inputs[0] as Value)?.rows(node) : null;
  if (rows) return rows;
  // A branch reads what is stored itself.
  if (node.body !== undefined) return [{ ...node, inputs: node.inputs.map((x) => stored.get(x)?.narrow ?? x) }];
  if (!node.inputs.some((input) => stored.has(input))) return [node];
  const nodes: GraphNode[] = [];
  const place: Reading = { position, token: latest(node.inputs, computed), nodes };
  const product = integerProduct(node, stored, { ...options, place });
  if (product !== null) return [...nodes, product];
  const inputs = node.inputs.map((input) => stored.get(input)?.wide(place) ?? input);
  return [...nodes, { ...node, inputs }];
}

/** The value that is computed last. */
function latest(values: readonly Value[], computed: Context["computed"]): Value | null {
  const tokens = values.filter((value) => computed.has(value) && sizeOf(value.shape) > 0);
  const at = (value: Value): number => computed.get(value) as number;
  return tokens.toSorted((a, b) => at(a) - at(b)).at(-1) ?? null;
}
