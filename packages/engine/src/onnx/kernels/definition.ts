import { PeftError } from "@peftjs/core";
import type { Attributes, ValueType } from "../graph.ts";
import type { OnnxEmitter } from "../emitter.ts";

/** A kernel call as `infer` and `lower` see it: shapes and types of its inputs, and its attributes. There are no values yet. */
export class KernelCall {
  readonly kernel: string;
  /** The kernel's own names of its inputs (`a`, `b`, `x`, …; numbers for lists), without those that the call leaves out. */
  readonly inputNames: readonly string[];
  readonly inputs: readonly ValueType[];
  readonly attributes: Attributes;

  constructor(kernel: string, inputNames: readonly string[], inputs: readonly ValueType[], attributes: Attributes) {
    this.kernel = kernel;
    this.inputNames = inputNames;
    this.inputs = inputs;
    this.attributes = attributes;
  }

  /** @throws PeftError `KERNEL_INPUT` when the call has no such input. */
  input(name: string): ValueType {
    const type = this.inputs[this.inputNames.indexOf(name)];
    if (type === undefined) {
      throw new PeftError(
        "KERNEL_INPUT",
        `Kernel ${this.kernel} is called without the input "${name}". Its inputs: ${this.inputNames.join(", ") || "none"}.`,
      );
    }
    return type;
  }

  /** An attribute that is a number. It and its like throw PeftError `KERNEL_ATTRIBUTE` when the attribute is something else. */
  number(name: string): number {
    return this.read(name, (value): value is number => typeof value === "number", "a number");
  }

  boolean(name: string): boolean {
    return this.read(name, (value): value is boolean => typeof value === "boolean", "a boolean");
  }

  text(name: string): string {
    return this.read(name, (value): value is string => typeof value === "string", "a string");
  }

  /** A list of numbers; one number is a list of one. */
  numbers(name: string): readonly number[] {
    const value = this.attributes[name];
    if (typeof value === "number") return [value];
    if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
    return this.read(name, (v): v is readonly number[] => Array.isArray(v), "a list of numbers");
  }

  /** Whether the call has the attribute. */
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

/** A kernel call while it is written as ONNX. */
export interface LoweringCall {
  readonly call: KernelCall;
  /** Name of every input's ONNX value, in the order of `call.inputs`. */
  readonly args: readonly string[];
  /** What `infer` said of the results. */
  readonly outputs: readonly ValueType[];
  readonly emit: OnnxEmitter;
}

/** Everything the compiled engine knows of one tfjs kernel. Both functions must be pure: equal calls are made once. */
export interface KernelDefinition {
  /** The kernel's name in `tf.engine().runKernel(name, inputs, attributes)`. */
  readonly name: string;
  /** The kernel returns a list, even where it has one result. Without it, one result is returned as it is. */
  readonly list?: true;
  /** All inputs must have one type: neither tfjs nor ONNX converts them. */
  readonly sameTypes?: true;
  /** Shapes and types of the results. */
  infer(call: KernelCall): readonly ValueType[];
  /** Writes ONNX nodes; returns the name of one ONNX value per result. */
  lower(context: LoweringCall): readonly string[];
}
