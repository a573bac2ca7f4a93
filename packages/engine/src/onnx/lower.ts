import type { HalfType } from "@peftjs/core";
import { PeftError, sizeOf } from "@peftjs/core";
import type { OnnxConstant } from "./emitter.ts";
import { ProgramEmitter } from "./emitter.ts";
import type { Graph, GraphInput, GraphNode, Value } from "./graph.ts";
import { sameShape, uniformOf } from "./graph.ts";
import { KernelCall } from "./kernels/definition.ts";
import { BINARY_NAMES } from "./kernels/elementwise.ts";
import { KERNELS } from "./kernels/registry.ts";
import { describeNode } from "./trace/places.ts";
import { widenAtUse } from "./widenAtUse.ts";

export interface LoweredInput {
  readonly group: string;
  readonly name: string;
  readonly onnxName: string;
  readonly value: Value;
  readonly storage?: HalfType;
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
export function lower(ordered: Graph): LoweredGraph {
  const graph = widenAtUse(ordered);
  const emit = new ProgramEmitter();
  const names = new Map<Value, string>();
  const used = new Set<Value>([
    ...graph.nodes.flatMap(({ inputs }) => inputs),
    ...graph.outputs.map(({ value }) => value),
  ]);
  const inputs = graph.inputs
    .filter(({ value }) => used.has(value))
    .map((input, i) => ({ ...input, onnxName: `in${i}` }));
  for (const { value, onnxName } of inputs) names.set(value, onnxName);
  graph.nodes.forEach((node, index) => {
    emit.nameAfter(`${node.kernel}#${index}`);
    lowerNode(node, names, emit);
  });
  emit.nameAfter("results");
  return { emit, inputs, outputs: outputsOf(graph.outputs, names, emit), calls: graph.nodes };
}

function lowerNode(node: GraphNode, names: Map<Value, string>, emit: ProgramEmitter): void {
  const args = node.inputs.map((input, i) =>
    isScalarOperand(node, i) ? emit.scalar(uniformOf(input) as number, input.dtype) : nameOf(input, names, emit),
  );
  // Few operators take tensors without values, and a result without any is known.
  const isEmpty = node.outputs.every(({ shape }) => sizeOf(shape) === 0);
  const results = isEmpty ? node.outputs.map((output) => emptyConstant(output, emit)) : written(node, args, emit);
  node.outputs.forEach((output, i) => names.set(output, results[i] as string));
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

function nameOf(value: Value, names: Map<Value, string>, emit: ProgramEmitter): string {
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
function outputsOf(outputs: readonly GraphInput[], names: Map<Value, string>, emit: ProgramEmitter): LoweredInput[] {
  const produced = new Set(emit.nodes.flatMap((node) => node.outputs));
  return outputs.map((output) => {
    const name = nameOf(output.value, names, emit);
    // Deleting claims the name: a second result of the same value is copied.
    return { ...output, onnxName: produced.delete(name) ? name : emit.op("Identity", [name]) };
  });
}
