import type { Graph, GraphInput, GraphNode, Storage } from "./graph.ts";
import { inputOf, Value } from "./graph.ts";
import { postOrder, scheduleForRuntime } from "./memory/schedule.ts";
import { gatedBy, isGate } from "./simplify/gates.ts";
import { Draft, producing, single } from "./simplify/rewrite.ts";

/**
 * Puts gates, and what is computed for them alone, into branches, which run only when their gate is open. Gates of one `open` that
 * need a node in common share a branch. Every other gate has its own: a branch waits for all that it reads, and so keeps it.
 *
 * Branches cannot wait for each other in circles. A gate's stage is one above that of all gates that it depends on, only gates of one
 * stage share a branch, and a node that gates of several stages need is in the branch of the lowest: whatever a branch reads
 * comes from gates of lower stages alone. Branches of higher stages read such a node's result from it, and run only if it has.
 */
export function branchAtGates(graph: Graph): Graph {
  const branchOf = branchesOf(graph);
  if (branchOf.size === 0) return graph;
  const unitOf = (node: GraphNode): Unit => branchOf.get(node)?.root ?? node;
  const members = new Map<Unit, GraphNode[]>();
  for (const node of graph.nodes) members.set(unitOf(node), [...(members.get(unitOf(node)) ?? []), node]);
  const readOutside = new Set(graph.outputs.map(({ value }) => value));
  for (const node of graph.nodes)
    for (const input of node.inputs)
      if (input.producer !== null && unitOf(input.producer) !== unitOf(node)) readOutside.add(input);
  const above = (unit: Unit): Unit[] => {
    const nodes = members.get(unit) as GraphNode[];
    const units = nodes.flatMap(({ inputs }) =>
      inputs.flatMap(({ producer }) => (producer === null ? [] : [unitOf(producer)])),
    );
    return [...new Set(units)].filter((other) => other !== unit);
  };
  // A branch stands where its last gate was, or before the first node that reads it.
  const lastFirst = new Set(graph.nodes.toReversed().map(unitOf));
  const draft = new Draft(graph);
  for (const unit of postOrder([...lastFirst].reverse(), above)) {
    if (unit instanceof Branch) writeBranch(members.get(unit) as GraphNode[], { graph, draft, readOutside });
    else draft.keep(unit);
  }
  return draft.finish();
}

/** What runs as one: a node, or a branch. */
type Unit = GraphNode | Branch;

/** Gates that share what they need. Branches that turn out to be one have one root. */
class Branch {
  readonly stage: number;
  #joined: Branch | null = null;

  constructor(stage: number) {
    this.stage = stage;
  }

  get root(): Branch {
    return this.#joined?.root ?? this;
  }

  join(other: Branch): Branch {
    if (other.root !== this.root) other.root.#joined = this.root;
    return this.root;
  }
}

/** The branch of every gate, and of every node that is computed for gates alone. */
function branchesOf(graph: Graph): ReadonlyMap<GraphNode, Branch> {
  const branches = new Map<GraphNode, Branch>();
  const gated = gatedBy(graph);
  const stages = stagesOf(graph);
  const readers = new Map<Value, Branch[]>();
  for (const node of graph.nodes.toReversed()) {
    const all = gated.has(node) ? node.outputs.flatMap((output) => readers.get(output) ?? []) : [];
    const stage = Math.min(...all.map((branch) => branch.stage));
    const lowest = all.filter((branch) => branch.stage === stage);
    const branch = isGate(node)
      ? new Branch(stages.get(node) as number)
      : lowest.reduce<Branch | undefined>((first, other) => first?.join(other) ?? other.root, undefined);
    if (branch === undefined) continue;
    branches.set(node, branch);
    for (const input of node.inputs) readers.set(input, [...(readers.get(input) ?? []), branch]);
  }
  return branches;
}

/** How many gates there are, one after another, on the way to every node and in it. */
function stagesOf({ nodes }: Graph): ReadonlyMap<GraphNode, number> {
  const stages = new Map<GraphNode, number>();
  for (const node of nodes) {
    const before = node.inputs.map(({ producer }) => (producer === null ? 0 : (stages.get(producer) as number)));
    stages.set(node, Math.max(0, ...before) + (isGate(node) ? 1 : 0));
  }
  return stages;
}

interface Context {
  readonly graph: Graph;
  readonly draft: Draft;
  readonly readOutside: ReadonlySet<Value>;
}

function factorsOf(storage: Storage | undefined): Value[] {
  return storage?.type === "int8" ? [storage.scales, storage.inputScales].filter((factors) => factors !== null) : [];
}

/** As the branch sees it: its factors are captured, too. */
function inside(storage: Storage, body: Draft): Storage {
  if (storage.type !== "int8") return storage;
  const { scales, inputScales } = storage;
  return {
    ...storage,
    scales: body.current(scales),
    inputScales: inputScales === null ? null : body.current(inputScales),
  };
}

/** One node with a graph of its own, which reads nothing but the node's inputs and constants. */
function writeBranch(members: readonly GraphNode[], { graph, draft, readOutside }: Context): void {
  const body = new Draft(graph);
  const made = new Set(members.flatMap(({ outputs }) => outputs));
  const operands = (node: GraphNode): readonly Value[] => (isGate(node) ? [inputOf(node, "x")] : node.inputs);
  const storages = new Map(graph.inputs.map(({ value, storage }) => [value, storage]));
  const read = [...new Set(members.flatMap(operands))].filter((value) => value.constant === null && !made.has(value));
  const captured = [...new Set([...read, ...read.flatMap((value) => factorsOf(storages.get(value)))])];
  for (const value of captured) body.stand(value, new Value(value));
  const inputs = captured.map((value, i): GraphInput => {
    const input = { group: "captured", name: String(i), value: body.current(value) };
    const storage = storages.get(value);
    return storage === undefined ? input : { ...input, storage: inside(storage, body) };
  });
  for (const node of members) {
    if (isGate(node)) body.stand(single(node), body.current(inputOf(node, "x")));
    else body.keep(node);
  }
  const results = [...made].filter((value) => readOutside.has(value));
  const outputs = results.map((value, i) => ({ group: "results", name: String(i), value: body.current(value) }));
  const open = inputOf(members.find(isGate) as GraphNode, "open");
  const branch = producing({
    kernel: "PeftBranch",
    inputNames: ["open", ...captured.keys()].map(String),
    inputs: [open, ...captured].map(draft.current),
    attributes: {},
    outputs: results.map((value) => new Value(value)),
    body: scheduleForRuntime({ inputs, nodes: body.nodes, outputs }),
  });
  draft.nodes.push(branch);
  results.forEach((value, i) => draft.stand(value, branch.outputs[i] as Value));
}
