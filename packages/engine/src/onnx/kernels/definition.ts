import { PeftError } from "@peftjs/core";
import type { Attributes, Value, ValueType } from "../graph.ts";
import { inputOf } from "../graph.ts";
import type { OnnxEmitter } from "../emitter.ts";

/** A kernel call as `infer` and `lower` see it. */
export class KernelCall {
  readonly kernel: string;
  readonly inputNames: readonly string[];
  readonly inputs: readonly Value[];
  readonly attributes: Attributes;

  constructor(kernel: string, inputNames: readonly string[], inputs: readonly Value[], attributes: Attributes) {
    this.kernel = kernel;
    this.inputNames = inputNames;
    this.inputs = inputs;
    this.attributes = attributes;
  }

  input(name: string): Value {
    return inputOf(this, name);
  }

  number(name: string): number {
    return this.read(name, (value): value is number => typeof value === "number", "a number");
  }

  boolean(name: string): boolean {
    return this.read(name, (value): value is boolean => typeof value === "boolean", "a boolean");
  }

  text(name: string): string {
    return this.read(name, (value): value is string => typeof value === "string", "a string");
  }

  numbers(name: string): readonly number[] {
    const value = this.attributes[name];
    if (typeof value === "number") return [value];
    if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
    return this.read(name, (v): v is readonly number[] => Array.isArray(v), "a list of numbers");
  }

  has(name: string): boolean {
    return this.attributes[name] !== undefined && this.attributes[name] !== null;
  }

  private read<T>(name: string, is: (value: unknown) => value is T, expected: string): T {
    const value = this.attributes[name];
    if (!is(value)) {
      throw new PeftError(
        "KERNEL_ATTRIBUTE",
        `Attribute "${name}" of kernel ${this.kernel}: expected ${expected}, got ${String(value)}.`,
      );
    }
    return value;
  }
}

/** Names of ONNX values, given and returned while lowering. */
export interface LoweringCall {
  readonly call: KernelCall;
  /** ONNX name of every input, in the order of `call.inputs`. */
  readonly args: readonly string[];
  readonly outputs: readonly ValueType[];
  readonly emit: OnnxEmitter;
}

/** Everything the engine knows of one tfjs kernel. */
export interface KernelDefinition {
  readonly name: string;
  /** Shapes and types of the results. */
  infer(call: KernelCall): readonly ValueType[];
  /** Writes ONNX nodes; returns one name per result. */
  lower(context: LoweringCall): readonly string[];
}
