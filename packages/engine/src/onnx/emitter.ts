import type { DType } from "@peftjs/core";

export type AttributeValue = number | bigint | string | readonly bigint[] | readonly number[];

export type OnnxType = DType | "int64" | "uint32" | "uint8";

export interface OnnxNode {
  readonly type: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** A number is a float attribute, a bigint an integer one. */
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export interface OnnxConstant {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array | BigInt64Array | Uint32Array;
}

interface NodeOptions {
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly domain?: string;
  readonly outputs?: number;
}

/** Collects ONNX nodes and constants while a graph is lowered. Equal small constants are written once. */
export class OnnxEmitter {
  readonly nodes: OnnxNode[] = [];
  readonly constants: OnnxConstant[] = [];
  private readonly constantNames = new Map<string, string>();
  private counter = 0;

  /** Adds a node with one result and returns the result's name. */
  op(type: string, inputs: readonly string[], options: NodeOptions = {}): string {
    return this.multi(type, inputs, { ...options, outputs: 1 })[0] as string;
  }

  /** Adds a node with several results. */
  multi(type: string, inputs: readonly string[], options: NodeOptions): string[] {
    const outputs = Array.from({ length: options.outputs ?? 1 }, () => this.fresh());
    this.nodes.push({ type, domain: options.domain ?? "", inputs, outputs, attributes: options.attributes ?? {} });
    return outputs;
  }

  /** An op of ONNX Runtime's own domain. */
  contrib(type: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}): string {
    return this.op(type, inputs, { attributes, domain: "com.microsoft" });
  }

  scalar(value: number, type: OnnxType = "float32"): string {
    return this.constant({ type, shape: [], data: typedArray(type, [value]) });
  }

  /** Shapes, axes and other int64 lists. */
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

  fresh(): string {
    return `v${this.counter++}`;
  }
}

/** TensorProto.DataType. */
export const ONNX_TYPE: Readonly<Record<OnnxType, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  uint32: 12,
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
