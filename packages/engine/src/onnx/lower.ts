import { PeftError, sizeOf } from "@peftjs/core";
import type { OnnxConstant } from "./emitter.ts";
import { ProgramEmitter } from "./emitter.ts";
import type { Graph, GraphInput, GraphNode, Value } from "./graph.ts";
import { sameShape, uniformOf } from "./graph.ts";
import { KernelCall } from "./kernels/definition.ts";
import { BINARY_NAMES } from "./kernels/elementwise.ts";
import { KERNELS } from "./kernels/registry.ts";
import { castTo } from "./kernels/types.ts";
import { describeNode } from "./trace/places.ts";
import { readStored, type StoredOptions } from "./readStored.ts";

export interface LoweredInput extends GraphInput {
  readonly onnxName: string;
}

/** An ONNX program before it is written: nodes, constants, and which of the graph's inputs it reads. */
export interface LoweredGraph {
  readonly emit: ProgramEmitter;
  readonly inputs: readonly LoweredInput[];
  readonly outputs: readonly LoweredInput[];
  /** The kernel calls; ONNX nodes are named after their place here: `kernel#index.part`. */
  readonly calls: readonly GraphNode[];
}

/** Writes every node of the graph as ONNX. Inputs that nothing reads are left out. */
export function lower(ordered: Graph, options: StoredOptions = { largest: null }): LoweredGraph {
  const graph = readStored(ordered, options);
  const emit = new ProgramEmitter();
  const used = new Set<Value>([
    ...graph.nodes.flatMap(({ inputs }) => inputs),
    ...graph.outputs.map(({ value }) => value),
  ]);
  const inputs = graph.inputs
    .filter(({ value }) => used.has(value))
    .map((input, i) => ({ ...input, onnxName: `in${i}` }));
  const names = new Map(inputs.map(({ value, onnxName }) => [value, onnxName]));
  const scope = { emit, names, calls: [], options };
  return { emit, inputs, outputs: lowerNodes(graph, scope), calls: scope.calls };
}

/** What is known where nodes are written. */
interface Scope {
  readonly emit: ProgramEmitter;
  /** Names of values that can be read there. */
  readonly names: Map<Value, string>;
  /** All calls so far. */
  readonly calls: GraphNode[];
  readonly options: StoredOptions;
}

function lowerNodes(graph: Graph, scope: Scope): LoweredInput[] {
  for (const node of graph.nodes) lowerNode(node, scope);
  scope.emit.nameAfter("results");
  return outputsOf(graph.outputs, scope);
}

function lowerNode(node: GraphNode, scope: Scope): void {
  const { emit, names, calls } = scope;
  const origin = `${node.kernel}#${calls.push(node) - 1}`;
  emit.nameAfter(origin);
  const args = node.inputs.map((input, i) =>
    isScalarOperand(node, i) ? emit.scalar(uniformOf(input) as number, input.dtype) : nameOf(input, scope),
  );
  // Few operators take tensors without values, and a result without any is known.
  const isEmpty = node.outputs.every(({ shape }) => sizeOf(shape) === 0);
  const results = isEmpty
    ? node.outputs.map((output) => emptyConstant(output, emit))
    : node.body === undefined
      ? written(node, args, emit)
      : branched({ outputs: node.outputs, body: node.body, origin }, args, scope);
  node.outputs.forEach((output, i) => names.set(output, results[i] as string));
}

interface BranchNode extends Pick<GraphNode, "outputs"> {
  readonly body: Graph;
  readonly origin: string;
}

/** The branch as an `If`: what its body computes, or zeros. */
function branched({ outputs, body, origin }: BranchNode, args: readonly string[], scope: Scope): string[] {
  const { emit } = scope;
  const [open, ...captured] = args as [string, ...string[]];
  const graph = readStored(body, scope.options);
  const names = new Map(scope.names);
  graph.inputs.forEach(({ value }, i) => void names.set(value, captured[i] as string));
  const then = emit.graph(() => lowerNodes(graph, { ...scope, names }));
  emit.nameAfter(origin);
  // The zeros are `open` itself: of constants, the runtime would make them once and keep them.
  const otherwise = emit.graph(() =>
    outputs.map((value) => {
      const zero = castTo(emit, open, "float32", value.dtype);
      return { onnxName: emit.op("Expand", [zero, emit.ints(value.shape)]), value };
    }),
  );
  return emit.multi("If", [emit.cast(open, "bool")], {
    attributes: { then_branch: then, else_branch: otherwise },
    outputs: outputs.length,
  });
}

/** @throws PeftError naming the kernel's call, with the code of what `lower` threw or `LOWERING_INVALID`. */
function written(node: GraphNode, args: readonly string[], emit: ProgramEmitter): readonly string[] {
  const call = new KernelCall(node.kernel, node.inputNames, node.inputs, node.attributes);
  let results: readonly unknown[];
  try {
    const definition = KERNELS.get(node.kernel);
    if (definition === undefined) throw new Error("it has no lowering (any more)");
    results = definition.lower({ call, args, outputs: node.outputs, emit });
  } catch (error) {
    const code = error instanceof PeftError ? error.code : "LOWERING_INVALID";
    throw new PeftError(code, `${describeNode(node)} could not be lowered: ${String((error as Error).message)}`, {
      cause: error,
    });
  }
  const names = results.filter((name): name is string => typeof name === "string");
  if (names.length === node.outputs.length && results.length === names.length) return names;
  throw new PeftError(
    "LOWERING_INVALID",
    `${describeNode(node)} could not be lowered: lower must return the name of one ONNX value per result that infer announced ` +
      `(${node.outputs.length}), got [${results.map(String).join(", ")}].`,
  );
}

function emptyConstant({ dtype, shape }: Value, emit: ProgramEmitter): string {
  return emit.constant({ type: dtype, shape, data: new Uint8Array(0) });
}

/** In a broadcasting operator a uniform constant is one number when the other operand already has the full shape. */
function isScalarOperand(node: GraphNode, index: number): boolean {
  const [a, b] = node.inputs;
  const [operand, other] = index === 0 ? [a, b] : [b, a];
  if (!BINARY_NAMES.has(node.kernel) || operand === undefined || other === undefined) return false;
  return uniformOf(operand) !== null && sameShape(other.shape, node.outputs[0]?.shape ?? []);
}

function nameOf(value: Value, { names, emit }: Scope): string {
  const known = names.get(value);
  if (known !== undefined) return known;
  const name = constantName(value, emit);
  names.set(value, name);
  return name;
}

function constantName(value: Value, emit: ProgramEmitter): string {
  const { constant } = value;
  if (constant === null) throw new Error("A value is read before it is computed.");
  if (constant.kind === "data")
    return emit.constant({ type: value.dtype, shape: value.shape, data: constant.data as OnnxConstant["data"] });
  const scalar = emit.scalar(constant.value, value.dtype);
  if (value.shape.length === 0) return scalar;
  if (sizeOf(value.shape) === 1) return emit.op("Reshape", [scalar, emit.ints(value.shape)]);
  return emit.op("Expand", [scalar, emit.ints(value.shape)]);
}

/** Every result has a name of its own: a program may not return an argument, a constant, or one value twice, so those are copied. */
function outputsOf(outputs: readonly GraphInput[], scope: Scope): LoweredInput[] {
  const { emit } = scope;
  const produced = new Set(emit.nodes.flatMap((node) => node.outputs));
  return outputs.map((output) => {
    const name = nameOf(output.value, scope);
    // Deleting claims the name: a second result of the same value is copied.
    return { ...output, onnxName: produced.delete(name) ? name : emit.op("Identity", [name]) };
  });
}
