import { sizeOf } from "@peftjs/core";
import type { Graph, GraphInput, GraphNode, Value } from "../graph.ts";
import { sameShape } from "../graph.ts";
import { BINARY_NAMES } from "../kernels/elementwise.ts";
import { makeNode } from "../simplify/rewrite.ts";
import { VIEWS } from "./lifetimes.ts";
import { placeOf, type Overwrite } from "./overwrites.ts";

/** ONNX Runtime may make a transposition part of the product that reads it, which then reads the memory itself. */
const MAY_BE_VIEWS: ReadonlySet<string> = new Set([...VIEWS, "Transpose"]);
/** How far up from the writing node a small operand is looked for. */
const GATE_DEPTH = 6;

/**
 * Lets results be written over arguments: the node that writes such a result waits for every node that reads the argument's memory.
 * A node that reads the argument after the result is known, or otherwise than element by element in writing it, cannot be
 * waited for: the result is then computed elsewhere and copied at the end.
 */
export function orderInPlace(graph: Graph, overwrites: readonly Overwrite[]): Graph {
  if (overwrites.length === 0) return graph;
  const inputs = new Map(graph.inputs.map((input) => [placeOf(input), input.value]));
  const targets = new Map(overwrites.map((overwrite) => [placeOf(overwrite), overwrite.inputs]));
  const memoryOf = (places: readonly string[] = []): Value[] => places.map((place) => inputs.get(place) as Value);
  const overwritten = new Set(overwrites.flatMap((overwrite) => memoryOf(overwrite.inputs)));
  const schedule = new Schedule(graph);
  const staysThere = (output: GraphInput): boolean => memoryOf(targets.get(placeOf(output))).includes(output.value);
  const outputs = graph.outputs
    // An argument that is returned elsewhere is copied before anything is overwritten.
    .map((output) =>
      overwritten.has(output.value) && !staysThere(output)
        ? { ...output, value: schedule.copyFirst(output.value) }
        : output,
    )
    .map((output) => {
      const memory = memoryOf(targets.get(placeOf(output)));
      return memory.length === 0 ? output : { ...output, value: schedule.writeOver(output.value, memory) };
    });
  return { inputs: graph.inputs, nodes: schedule.finish(), outputs };
}

/** An operand of a node. */
interface Operand {
  readonly node: GraphNode;
  readonly index: number;
}

/** The graph's order, in which whatever waits for a node comes after it: so that waiting never goes in circles. */
class Schedule {
  readonly #nodes: readonly GraphNode[];
  readonly #position = new Map<GraphNode, number>();
  readonly #readers = new Map<Value, GraphNode[]>();
  readonly #written = new Set<Value>();
  readonly #first: GraphNode[] = [];
  readonly #last: GraphNode[] = [];
  /** Gates by the node they stand before, and by the operand they stand for. */
  readonly #gates = new Map<GraphNode, Map<number, GraphNode[]>>();

  constructor({ nodes }: Graph) {
    this.#nodes = nodes;
    nodes.forEach((node, position) => {
      this.#position.set(node, position);
      for (const input of new Set(node.inputs)) {
        const readers = this.#readers.get(input);
        if (readers === undefined) this.#readers.set(input, [node]);
        else readers.push(node);
      }
    });
  }

  /** The value that is written over the memory of `memory`. */
  writeOver(value: Value, memory: readonly Value[]): Value {
    if (memory.includes(value)) return value;
    const readers = memory.flatMap((input) => this.#readersOf(input));
    const result = this.#fits(value, memory, readers) ? value : this.#copyAt(this.#last, value);
    this.#written.add(result);
    const writer = result.producer as GraphNode;
    for (const reader of new Set(readers)) if (!this.#needs(writer, reader)) this.#gate(writer, reader);
    return result;
  }

  /** The writer and the nodes that it is made of, near it first, as far as they come after a position. */
  #above(writer: GraphNode, position: number): GraphNode[] {
    const found = new Set([writer]);
    let level = [writer];
    for (let depth = 1; depth < GATE_DEPTH; depth++) {
      level = level
        .flatMap(({ inputs }) => inputs.map(({ producer }) => producer))
        .filter((node): node is GraphNode => node !== null && (this.#position.get(node) as number) > position);
      for (const node of level) found.add(node);
    }
    return [...found];
  }

  /** A copy that is made before anything is overwritten. */
  copyFirst(value: Value): Value {
    const copy = this.#copyAt(this.#first, value);
    this.#readers.set(value, [...(this.#readers.get(value) ?? []), copy.producer as GraphNode]);
    return copy;
  }

  finish(): GraphNode[] {
    return [...this.#first, ...this.#nodes, ...this.#last].flatMap((node) => {
      const gates = this.#gates.get(node);
      if (gates === undefined) return [node];
      // The graph is this program's own: nobody else sees its nodes change.
      (node as { inputs: readonly Value[] }).inputs = node.inputs.map(
        (input, index) => gates.get(index)?.at(-1)?.outputs[0] ?? input,
      );
      return [...[...gates.values()].flat(), node];
    });
  }

  #fits({ producer, shape }: Value, memory: readonly Value[], readers: readonly GraphNode[]): boolean {
    if (producer === null || producer.outputs.length > 1 || MAY_BE_VIEWS.has(producer.kernel)) return false;
    if (this.#written.has(producer.outputs[0] as Value)) return false;
    const reads = producer.inputs.filter((input) => memory.includes(input));
    if (reads.some((input) => !sameShape(input.shape, shape))) return false;
    if (readers.includes(producer) && (reads.length === 0 || !BINARY_NAMES.has(producer.kernel))) return false;
    const position = this.#position.get(producer) as number;
    return readers.every((reader) => reader === producer || (this.#position.get(reader) as number) < position);
  }

  #copyAt(list: GraphNode[], value: Value): Value {
    const node = makeNode("PeftAfter", ["x", "token"], [value, value], {});
    list.push(node);
    this.#position.set(node, list === this.#first ? -1 : this.#nodes.length + list.length);
    return node.outputs[0] as Value;
  }

  /** Lets the writer wait for the reader: an operand on the way to it is handed on only after the reader's result is there. */
  #gate(writer: GraphNode, reader: GraphNode): void {
    const token = reader.outputs.find(({ shape }) => sizeOf(shape) > 0);
    if (token === undefined) return;
    const { node, index } = this.#smallestOperand(writer, reader);
    const gates = this.#gates.get(node) ?? new Map<number, GraphNode[]>();
    const before = gates.get(index) ?? [];
    const x = (before.at(-1)?.outputs[0] ?? node.inputs[index]) as Value;
    this.#gates.set(node, gates.set(index, [...before, makeNode("PeftAfter", ["x", "token"], [x, token], {})]));
  }

  /** Of the operands on the way to the writer that come after the reader, the one that costs least to hand on. */
  #smallestOperand(writer: GraphNode, reader: GraphNode): Operand {
    let best: Operand = { node: writer, index: 0 };
    let cost = Number.POSITIVE_INFINITY;
    for (const node of this.#above(writer, this.#position.get(reader) as number)) {
      node.inputs.forEach(({ shape }, index) => {
        if (sizeOf(shape) >= cost) return;
        best = { node, index };
        cost = sizeOf(shape);
      });
    }
    return best;
  }

  /** Whether the writer cannot run before the reader anyway. */
  #needs(writer: GraphNode, reader: GraphNode): boolean {
    const after = this.#position.get(reader) as number;
    const seen = new Set([writer]);
    for (const node of seen) {
      if (node === reader) return true;
      for (const { producer } of node.inputs)
        if (producer !== null && (this.#position.get(producer) as number) >= after) seen.add(producer);
    }
    return false;
  }

  /** All nodes that read the value's memory. */
  #readersOf(value: Value): GraphNode[] {
    return (this.#readers.get(value) ?? []).flatMap((node) =>
      MAY_BE_VIEWS.has(node.kernel) ? [node, ...node.outputs.flatMap((output) => this.#readersOf(output))] : [node],
    );
  }
}
