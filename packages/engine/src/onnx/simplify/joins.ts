import { sizeOf } from "@peftjs/core";
import type { Graph, GraphNode, Value } from "../graph.ts";
import { inputOf, sameShape } from "../graph.ts";
import { gatedBy } from "./gates.ts";
import type { GraphPass } from "./rewrite.ts";
import { Draft, makeNode, single } from "./rewrite.ts";

/**
 * x·A₁ᵀ, x·A₂ᵀ, … = split(x·[A₁; A₂; …]ᵀ) and A₁ᵀ·x, A₂ᵀ·x, … likewise: x is read once, and a product of few columns
 * leaves most of a processor's lanes empty. Operands and results are copied for it, so only narrow ones are joined: the
 * adapters' A and its gradient. Joining the weights of queries, keys and values costs 2 to 12 % more than it saves.
 */
export const joinProducts: GraphPass = {
  name: "join-products",
  run(graph) {
    const order = new Order(graph);
    const joined = new Map<GraphNode, Join>();
    for (const side of ["a", "b"] as const)
      for (const members of productsBy(graph, side).values()) {
        const join = joinOf(
          members.filter((node) => !joined.has(node)),
          side,
          order,
        );
        for (const node of join?.members ?? []) joined.set(node, join as Join);
      }
    if (joined.size === 0) return graph;
    const draft = new Draft(graph);
    for (const node of graph.nodes) {
      const join = joined.get(node);
      if (join === undefined) draft.keep(node);
      if (join?.place === node) writeJoin(join, draft);
    }
    return draft.finish();
  },
};

interface Join {
  readonly members: readonly GraphNode[];
  /** The operand that all members read. */
  readonly shared: "a" | "b";
  /** The member in whose place all are computed. */
  readonly place: GraphNode;
}

/** When a value is computed and first read. */
class Order {
  readonly #computed = new Map<Value, number>();
  readonly #read = new Map<Value, number>();

  constructor(graph: Graph) {
    graph.nodes.forEach(({ inputs, outputs }, i) => {
      for (const output of outputs) this.#computed.set(output, i);
      for (const input of inputs) if (!this.#read.has(input)) this.#read.set(input, i);
    });
  }

  computed(value: Value): number {
    return this.#computed.get(value) ?? -1;
  }

  read(value: Value): number {
    return this.#read.get(value) ?? Number.POSITIVE_INFINITY;
  }
}

/** 2-D products by the operand they share, how they read it, and the gates that they are computed for: one that may not be needed stays by itself. */
function productsBy(graph: Graph, side: "a" | "b"): Map<string, GraphNode[]> {
  const ids = new Map<Value | undefined, number>();
  const idOf = (value: Value | undefined): number => ids.get(value) ?? ids.set(value, ids.size).size - 1;
  const gated = gatedBy(graph);
  const groups = new Map<string, GraphNode[]>();
  for (const node of graph.nodes) {
    if (node.kernel !== "BatchMatMul" || !isMatrixProduct(node)) continue;
    const { transposeA, transposeB, alpha } = node.attributes;
    const key = [idOf(inputOf(node, side)), transposeA, transposeB, alpha, idOf(gated.get(node))].join();
    groups.set(key, [...(groups.get(key) ?? []), node]);
  }
  return groups;
}

function isMatrixProduct(node: GraphNode): boolean {
  return node.inputs.every(({ shape }) => shape.length === 2) && single(node).dtype === "float32";
}

/** Joined where the first is, if all operands are there by then, or where the last is, if no result is read before. */
function joinOf(members: readonly GraphNode[], shared: "a" | "b", order: Order): Join | null {
  const [first, last] = [members[0], members.at(-1)];
  if (first === undefined || last === undefined || first === last) return null;
  const others = members.map((node) => inputOf(node, shared === "a" ? "b" : "a"));
  const results = members.map(single);
  const isNarrow = results.every(({ shape }) => (shape[shared === "a" ? 1 : 0] as number) <= WIDEST[shared]);
  if (!isNarrow || !isCheap([...others, ...results], inputOf(first, shared))) return null;
  const position = (node: GraphNode): number => order.computed(single(node));
  if (others.every((other) => order.computed(other) < position(first))) return { members, shared, place: first };
  const isReadLater = members.every((node) => order.read(single(node)) > position(last));
  return isReadLater ? { members, shared, place: last } : null;
}

/**
 * How many columns (shared a) or rows (shared b) of a product still gain from a join, measured at 1024 × 768 and
 * 1024 × 128: x·Aᵀ 20 to 30 % at 8 columns, nothing at 16, a loss at 32; Aᵀ·x 20 % at 8 rows, 9 % at 64.
 */
const WIDEST = { a: 16, b: 64 } as const;

/** What is copied is at most half of what need not be read or written again. */
function isCheap(copied: readonly Value[], saved: Value): boolean {
  return 2 * copied.reduce((sum, { shape }) => sum + sizeOf(shape), 0) <= sizeOf(saved.shape);
}

function writeJoin({ members, shared }: Join, draft: Draft): void {
  const [first] = members as [GraphNode];
  const other = shared === "a" ? "b" : "a";
  const transposed = first.attributes[other === "a" ? "transposeA" : "transposeB"] === true;
  // Rows of the left operand, or columns of the right one.
  const axis = (other === "a") === transposed ? 1 : 0;
  const parts = members.map((node) => draft.current(inputOf(node, other)));
  const whole = draft.add("Concat", Object.fromEntries(parts.map((part, i) => [String(i), part])), { axis });
  const same = draft.current(inputOf(first, shared));
  const operands = shared === "a" ? { a: same, b: whole } : { a: whole, b: same };
  const product = draft.add("BatchMatMul", operands, first.attributes);
  const resultAxis = shared === "a" ? 1 : 0;
  const numOrSizeSplits = members.map((node) => single(node).shape[resultAxis]);
  const split = makeNode("SplitV", ["x"], [product], { numOrSizeSplits, axis: resultAxis });
  draft.nodes.push(split);
  members.forEach((node, i) => draft.replace(node, [split.outputs[i] as Value]));
}

/**
 * … + x₁·A₁ + … + x₂·A₂ = … + [x₁ x₂]·[A₁; A₂]: narrow products that end up in one sum are one product, computed in
 * the place of the last. A wide result is written and added once instead of twice; the sum's order changes.
 */
export const joinSums: GraphPass = {
  name: "join-sums",
  run(graph) {
    const sums = new Map<string, GraphNode[]>();
    const readers = readersOf(graph);
    const ids = new Map<GraphNode, number>(graph.nodes.map((node, i) => [node, i]));
    for (const node of graph.nodes) {
      if (node.kernel !== "BatchMatMul" || !isMatrixProduct(node)) continue;
      const root = sumOf(single(node), readers);
      if (root === null) continue;
      const { transposeA, transposeB, alpha } = node.attributes;
      const key = [ids.get(root), transposeA, transposeB, alpha].join();
      sums.set(key, [...(sums.get(key) ?? []), node]);
    }
    const absorbed = new Set<Value>();
    const bySum = new Map<GraphNode, readonly GraphNode[]>();
    for (const members of sums.values()) {
      const narrow = members.filter(isNarrow);
      const last = narrow.at(-1);
      if (last === undefined || narrow.length < 2) continue;
      bySum.set(last, narrow);
      for (const node of narrow.slice(0, -1)) absorbed.add(single(node));
    }
    if (bySum.size === 0) return graph;
    const draft = new Draft(graph);
    for (const node of graph.nodes) {
      const members = bySum.get(node);
      const terms = node.kernel === "Add" ? node.inputs.filter((input) => !absorbed.has(input)) : node.inputs;
      if (terms.length === 0) absorbed.add(single(node));
      if (absorbed.has(single(node))) continue;
      if (members !== undefined) draft.replace(node, [innerJoin(members, draft)]);
      else if (terms.length < node.inputs.length) draft.replace(node, [draft.current(terms[0] as Value)]);
      else draft.keep(node);
    }
    return draft.finish();
  },
};

/** The last addition of the sum that a value enters; null if something else reads it. */
function sumOf(value: Value, readers: ReadonlyMap<Value, readonly GraphNode[]>): GraphNode | null {
  let root: GraphNode | null = null;
  for (let part = value; ; part = single(root)) {
    const [reader, ...more] = readers.get(part) ?? [];
    const isTerm =
      reader?.kernel === "Add" &&
      more.length === 0 &&
      reader.inputs.every(({ shape }) => sameShape(shape, value.shape));
    if (!isTerm) return root;
    root = reader;
  }
}

/** Every reader of a value; a result counts as one that is no addition. */
function readersOf(graph: Graph): Map<Value, GraphNode[]> {
  const readers = new Map<Value, GraphNode[]>();
  for (const node of graph.nodes)
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), node]);
  for (const { value } of graph.outputs) if (value.producer !== null) readers.set(value, []);
  return readers;
}

/** The result, which is written once instead of twice, is what such a product costs: 20 to 40 % less up to 64 terms. */
const MOST_TERMS = 64;

function isNarrow(node: GraphNode): boolean {
  const terms = inputOf(node, "a").shape[node.attributes["transposeA"] === true ? 0 : 1] as number;
  return terms <= MOST_TERMS && isCheap(node.inputs, single(node));
}

function innerJoin(members: readonly GraphNode[], draft: Draft): Value {
  const [first] = members as [GraphNode];
  const { transposeA, transposeB } = first.attributes;
  const concat = (name: "a" | "b", axis: number): Value => {
    const parts = members.map((node, i) => [String(i), draft.current(inputOf(node, name))]);
    return draft.add("Concat", Object.fromEntries(parts) as Record<string, Value>, { axis });
  };
  const operands = { a: concat("a", transposeA === true ? 0 : 1), b: concat("b", transposeB === true ? 1 : 0) };
  return draft.add("BatchMatMul", operands, first.attributes);
}
