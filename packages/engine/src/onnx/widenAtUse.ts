import type { HalfType } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { Graph, GraphNode } from "./graph.ts";
import { Value } from "./graph.ts";
import { makeNode, single } from "./simplify/rewrite.ts";

/** Below this many values, a copy that lives to the end of the program costs less than making it again. */
const WORTH_WAITING = 1 << 16;
/** Calls that are at most this far apart share a copy: the turns in which a layer's rows are taken. */
const NEAR = 16;

/**
 * Inserts what widens arguments that are stored in two bytes a value; until here they count as float32. A weight is widened anew in
 * every pass that reads it, and not before the reader's other operand is there: a copy in float32 lives as long as one layer's
 * product. Of a table, only the rows that are looked up are widened.
 */
export function widenAtUse(graph: Graph): Graph {
  const stored = new Map<Value, Argument>();
  const inputs = graph.inputs.map((input) => {
    if (input.storage === undefined) return input;
    const argument = new Argument(input.value, input.storage);
    stored.set(input.value, argument);
    return { ...input, value: argument.narrow };
  });
  if (stored.size === 0) return graph;
  const computed = new Map(
    graph.nodes.flatMap(({ outputs }, position) => outputs.map((value) => [value, position] as const)),
  );
  const nodes = graph.nodes.flatMap((node, position) => widened(node, { position, stored, computed }));
  const outputs = graph.outputs.map((output) => {
    const argument = stored.get(output.value);
    return argument === undefined ? output : { ...output, value: argument.wideAt(graph.nodes.length, null, nodes) };
  });
  return { inputs, nodes, outputs };
}

interface Context {
  readonly position: number;
  readonly stored: ReadonlyMap<Value, Argument>;
  /** Where in the graph values are computed. */
  readonly computed: ReadonlyMap<Value, number>;
}

/** The node as it reads stored arguments, after what it needs for that. Its results stay the same values. */
function widened(node: GraphNode, { position, stored, computed }: Context): GraphNode[] {
  const table = node.kernel === "GatherV2" ? stored.get(node.inputs[0] as Value) : undefined;
  if (table !== undefined) return table.rows(node);
  // A branch widens what it reads itself.
  if (node.body !== undefined) return [{ ...node, inputs: node.inputs.map((x) => stored.get(x)?.narrow ?? x) }];
  if (!node.inputs.some((input) => stored.has(input))) return [node];
  const token = latest(node.inputs, computed);
  const before: GraphNode[] = [];
  const inputs = node.inputs.map((input) => stored.get(input)?.wideAt(position, token, before) ?? input);
  return [...before, { ...node, inputs }];
}

/** The value that is computed last. */
function latest(values: readonly Value[], computed: Context["computed"]): Value | null {
  const tokens = values.filter((value) => computed.has(value) && sizeOf(value.shape) > 0);
  const at = (value: Value): number => computed.get(value) as number;
  return tokens.toSorted((a, b) => at(a) - at(b)).at(-1) ?? null;
}

/** One argument that is stored in two bytes a value. */
class Argument {
  /** As it is stored; only what widens reads it. */
  readonly narrow: Value;
  readonly #from: HalfType;
  #copy: Value | null = null;
  #lastUse = 0;

  constructor(wide: Value, from: HalfType) {
    this.narrow = new Value(wide);
    this.#from = from;
  }

  /** A copy in float32 for a call at `position`; what makes it is appended to `nodes`. */
  wideAt(position: number, token: Value | null, nodes: GraphNode[]): Value {
    const isSmall = sizeOf(this.narrow.shape) < WORTH_WAITING;
    if (this.#copy === null || (!isSmall && position - this.#lastUse > NEAR)) {
      const gate = isSmall || token === null ? [] : [this.#gate(token)];
      const widening = this.#widening(this.narrow, gate.map(single));
      nodes.push(...gate, widening);
      this.#copy = single(widening);
    }
    this.#lastUse = position;
    return this.#copy;
  }

  /** The look-up of what is stored, and the same results widened. */
  rows(lookUp: GraphNode): GraphNode[] {
    const rows = new Value(single(lookUp));
    const inputs = [this.narrow, ...lookUp.inputs.slice(1)];
    return [
      { ...lookUp, inputs, outputs: [rows] },
      { ...this.#widening(rows, []), outputs: lookUp.outputs },
    ];
  }

  /** The shape, handed on once the token is there. */
  #gate(token: Value): GraphNode {
    const { shape } = this.narrow;
    const own = new Value({ shape: [shape.length], dtype: "int32" }, { kind: "data", data: Int32Array.from(shape) });
    return makeNode("PeftAfter", ["x", "token"], [own, token], {});
  }

  #widening(x: Value, shape: readonly Value[]): GraphNode {
    return makeNode("PeftWiden", ["x", "shape"].slice(0, 1 + shape.length), [x, ...shape], { from: this.#from });
  }
}
