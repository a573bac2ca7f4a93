import type { DType } from "@peftjs/core";
import type { ValueType } from "./graph.ts";

/** A number is a float attribute, a bigint an integer one. */
export type AttributeValue = number | bigint | string | readonly bigint[] | readonly number[] | OnnxGraph;

/** A branch of an operator: it takes nothing, and reads what is outside of it by name. */
export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly outputs: readonly OnnxResult[];
}

export interface OnnxResult {
  readonly onnxName: string;
  readonly value: ValueType;
}

export type OnnxType = DType | "int64" | "uint32" | "uint8";

/** Types of arguments that count as float32 and are stored otherwise. */
export type OnnxStorage = "float16" | "bfloat16" | "uint16" | "int8";

export interface OnnxNode {
  /** `kernel#index.part`: the kernel call that the node was written for. ONNX Runtime's errors name it. */
  readonly name: string;
  readonly type: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export interface OnnxConstant {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array | BigInt64Array | Uint32Array;
}

export interface OnnxNodeOptions {
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Domain of the operator; empty for ONNX's own operators (set 18). */
  readonly domain?: string;
  /** How many results the node has. */
  readonly outputs?: number;
}

/** Writes ONNX nodes. Values are known by name: every method returns the name of what it adds. */
export interface OnnxEmitter {
  /** A node with one result, e.g. `emit.op("Clip", [x, emit.scalar(0), emit.scalar(6)])`. */
  op(type: string, inputs: readonly string[], options?: OnnxNodeOptions): string;
  /** A node with several results. An input that is left out is an empty name. */
  multi(type: string, inputs: readonly string[], options: OnnxNodeOptions): string[];
  /** An operator of ONNX Runtime's own domain, `com.microsoft`. */
  contrib(type: string, inputs: readonly string[], attributes?: Readonly<Record<string, AttributeValue>>): string;
  /** A constant of rank 0. */
  scalar(value: number, type?: OnnxType): string;
  /** An int64 list: shapes, axes, starts and ends. */
  ints(values: readonly number[]): string;
  /** The value in another type. */
  cast(name: string, to: OnnxType): string;
  /** A constant of any shape. Equal small ones are written once. */
  constant(constant: Omit<OnnxConstant, "name">): string;
}

/** Collects the nodes and constants of a program. */
export class ProgramEmitter implements OnnxEmitter {
  #nodes: OnnxNode[] = [];
  readonly constants: OnnxConstant[] = [];
  private readonly constantNames = new Map<string, string>();
  private counter = 0;
  private origin = "";
  private part = 0;

  /** The nodes of the graph that is being written. */
  get nodes(): readonly OnnxNode[] {
    return this.#nodes;
  }

  /** What `write` adds is a graph of its own, with the results that it returns. Constants are the program's. */
  graph(write: () => readonly OnnxResult[]): OnnxGraph {
    const outer = this.#nodes;
    this.#nodes = [];
    const outputs = write();
    const nodes = this.#nodes;
    this.#nodes = outer;
    return { nodes, outputs };
  }

  /** Nodes that are added from now on are named after `origin`. */
  nameAfter(origin: string): void {
    this.origin = origin;
    this.part = 0;
  }

  op(type: string, inputs: readonly string[], options: OnnxNodeOptions = {}): string {
    return this.multi(type, inputs, { ...options, outputs: 1 })[0] as string;
  }

  multi(type: string, inputs: readonly string[], options: OnnxNodeOptions): string[] {
    const outputs = Array.from({ length: options.outputs ?? 1 }, () => this.fresh());
    this.#nodes.push({
      name: `${this.origin}.${this.part++}`,
      type,
      domain: options.domain ?? "",
      inputs,
      outputs,
      attributes: options.attributes ?? {},
    });
    return outputs;
  }

  contrib(type: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}): string {
    return this.op(type, inputs, { attributes, domain: "com.microsoft" });
  }

  scalar(value: number, type: OnnxType = "float32"): string {
    return this.constant({ type, shape: [], data: typedArray(type, [value]) });
  }

  ints(values: readonly number[]): string {
    return this.constant({ type: "int64", shape: [values.length], data: BigInt64Array.from(values.map(BigInt)) });
  }

  cast(name: string, to: OnnxType): string {
    return this.op("Cast", [name], { attributes: { to: BigInt(ONNX_TYPE[to]) } });
  }

  constant(constant: Omit<OnnxConstant, "name">): string {
    const key = constant.data.length <= 16 ? `${constant.type}|${constant.shape.join()}|${keyOf(constant.data)}` : null;
    const known = key === null ? undefined : this.constantNames.get(key);
    if (known !== undefined) return known;
    const name = this.fresh();
    this.constants.push({ name, ...constant });
    if (key !== null) this.constantNames.set(key, name);
    return name;
  }

  private fresh(): string {
    return `v${this.counter++}`;
  }
}

/** TensorProto.DataType. */
export const ONNX_TYPE: Readonly<Record<OnnxType | OnnxStorage, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  uint32: 12,
  bfloat16: 16,
};

function typedArray(type: OnnxType, values: readonly number[]): OnnxConstant["data"] {
  switch (type) {
    case "float32":
      return Float32Array.from(values);
    case "int32":
      return Int32Array.from(values);
    case "uint32":
      return Uint32Array.from(values);
    case "int64":
      return BigInt64Array.from(values.map(BigInt));
    case "bool":
    case "uint8":
      return Uint8Array.from(values);
  }
}

/** Distinguishes −0 from 0, which `join` does not. */
function keyOf(data: OnnxConstant["data"]): string {
  return Array.from(data as ArrayLike<number | bigint>, (value) =>
    Object.is(value, -0) ? "-0" : String(value),
  ).join();
}
