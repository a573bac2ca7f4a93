import type { DType, HalfType, Int8Tensor } from "@peftjs/core";

export interface ValueType {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** What is known of a value before anything runs. Uniform constants keep one number, whatever their shape. */
export type Constant =
  | { readonly kind: "uniform"; readonly value: number }
  | { readonly kind: "data"; readonly data: Float32Array | Int32Array | Uint8Array };

/** One tensor of a graph. Identity is what distinguishes values: two values are the same only if they are the same object. */
export class Value implements ValueType {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly constant: Constant | null;
  /** The node that computes it; null for inputs and constants. */
  producer: GraphNode | null = null;

  constructor(type: ValueType, constant: Constant | null = null) {
    this.shape = [...type.shape];
    this.dtype = type.dtype;
    this.constant = constant;
  }
}

export type Attributes = Readonly<Record<string, unknown>>;

/** One call of a tfjs kernel. `inputNames` are the kernel's own (`a`, `b`, `x`, …; numbers for lists). */
export interface GraphNode {
  readonly kernel: string;
  readonly inputNames: readonly string[];
  readonly inputs: readonly Value[];
  readonly attributes: Attributes;
  readonly outputs: readonly Value[];
  /** What a branch computes when its first input, `open`, is not 0: from its other inputs, in their order. Else its results are zeros. */
  readonly body?: Graph;
}

export interface GraphInput {
  readonly group: string;
  readonly name: string;
  readonly value: Value;
  /** How the argument is stored, if not as what it counts as: until it is read (`readStored`), as float32. */
  readonly storage?: Storage;
  /** Factors of an argument of eight bits, which are an argument of their own. */
  readonly part?: FactorName;
}

export type Storage = { readonly type: HalfType } | Int8Storage;

export type FactorName = "scales" | "inputScales";

export interface Int8Storage extends Pick<Int8Tensor, "axis" | "backward"> {
  readonly type: "int8";
  readonly scales: Value;
  readonly inputScales: Value | null;
}

/** Nodes in an order in which they can be run. */
export interface Graph {
  readonly inputs: readonly GraphInput[];
  readonly nodes: readonly GraphNode[];
  readonly outputs: readonly GraphInput[];
}

/** Input of a node by the kernel's name for it. */
export function inputOf(node: Pick<GraphNode, "inputNames" | "inputs" | "kernel">, name: string): Value {
  const value = node.inputs[node.inputNames.indexOf(name)];
  if (value === undefined) throw new Error(`Kernel ${node.kernel} has no input "${name}".`);
  return value;
}

export function uniform(type: ValueType, value: number): Value {
  return new Value(type, { kind: "uniform", value });
}

/** The single number of a uniform constant, else null. */
export function uniformOf(value: Value): number | null {
  return value.constant?.kind === "uniform" ? value.constant.value : null;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}
