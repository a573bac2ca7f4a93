import type { DType } from "@peftjs/core";
import { PeftError } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import { Value } from "../graph.ts";
import type { KernelCall } from "../kernels/definition.ts";
import type { ExclusionGroup } from "../kernels/excluded.ts";
import { EXCLUDED } from "../kernels/excluded.ts";
import { callerOf } from "./callerPlace.ts";

const EAGER = 'run it on the eager engine: createEngine({ kind: "eager" })';

/** `tf.mul (kernel Multiply) at file:line:column`, as far as the stack tells. */
export function describeCall(kernel: string, stack = stackHere()): string {
  const caller = callerOf(stack);
  if (caller === null) return `Kernel ${kernel}`;
  const { callee, place } = caller;
  return `${callee === null ? `Kernel ${kernel}` : `${callee} (kernel ${kernel})`} at ${place}`;
}

/** The same for a call that reaches no kernel. */
function describeCaller(stack: string): string {
  const caller = callerOf(stack);
  return caller === null ? "A call" : `${caller.callee ?? "A call"} at ${caller.place}`;
}

function stackHere(): string {
  return new Error().stack ?? "";
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

const CODES: Partial<Readonly<Record<ExclusionGroup, string>>> = {
  dataDependentShape: "SHAPE_DEPENDS_ON_DATA",
  complex: "DTYPE_UNSUPPORTED",
  string: "DTYPE_UNSUPPORTED",
  random: "RANDOM_DURING_TRACE",
};

/** A kernel without a compiled form: why, and what to do instead. */
export function kernelMissing(kernel: string, cause: Error): PeftError {
  const exclusion = EXCLUDED.get(kernel);
  const call = describeCall(kernel, cause.stack);
  if (exclusion === undefined) {
    return new PeftError(
      "KERNEL_MISSING",
      `${call} has no compiled form. Write it with other tfjs operations, add it with registerLowering, or ${EAGER}.`,
      { cause },
    );
  }
  return new PeftError(
    CODES[exclusion.group] ?? "KERNEL_MISSING",
    `${call} cannot be compiled. ${exclusion.remedy} Or ${EAGER}.`,
    { cause },
  );
}

/** Asynchronous operations of tfjs that read values to find the shape of their result. */
const READS_FOR_SHAPE = /\b(?:whereAsync|booleanMaskAsync|setdiff1dAsync|nonMaxSuppression\w*Async)_/;

/** A tensor was read while it has no values. `what` names the tensor. */
export function readDuringTrace(what: string): PeftError {
  const stack = stackHere();
  const call = describeCaller(stack);
  if (READS_FOR_SHAPE.test(stack)) {
    return new PeftError(
      "SHAPE_DEPENDS_ON_DATA",
      `The shape of ${call} depends on the values of ${what}. ${EXCLUDED.get("Unique")?.remedy ?? ""} Or ${EAGER}.`,
    );
  }
  const implicit = call.startsWith("Tensor.toString")
    ? " (a tensor that is compared, printed or put into a text is read)"
    : "";
  return new PeftError(
    "READ_DURING_TRACE",
    `${call} reads ${what} while the function is being compiled, when tensors have no values yet${implicit}. ` +
      "Keep the computation in tensor operations, pass the value in as an argument, or return the tensor and read the result.",
  );
}

export function randomDuringTrace(): PeftError {
  return new PeftError(
    "RANDOM_DURING_TRACE",
    `${describeCaller(stackHere())} draws its numbers once, while the function is being compiled: every run would repeat them. ` +
      "Pass the numbers in as an argument; for dropout, use `dropout` of @peftjs/core with a key that is an argument.",
  );
}

/** A tensor that the function did not get as an argument and did not compute. */
export function capturedTensor(tensor: tf.TensorInfo, subject: string): PeftError {
  const shape = shapeText(tensor.shape);
  if (isVariable(tensor)) {
    return new PeftError(
      "CAPTURED_TENSOR",
      `${subject} is the variable "${tensor.name}" of shape ${shape}, which was made outside the compiled function. ` +
        "A program has no variables: pass the value in as an argument and return the new value as a result.",
    );
  }
  const origin =
    tensor.dataId instanceof Value
      ? "that an earlier call of the function made. Make it anew in every call: what a function keeps for later is not part of its program."
      : "that was made outside the compiled function. Pass it in as an argument: everything that changes from call to call is one.";
  return new PeftError("CAPTURED_TENSOR", `${subject} is a tensor of shape ${shape} ${origin}`);
}

export function disposedTensor(tensor: tf.TensorInfo, subject: string): PeftError {
  return new PeftError(
    "TENSOR_DISPOSED",
    `${subject} is a tensor of shape ${shapeText(tensor.shape)} that is disposed of already. ` +
      "Return it from the tf.tidy that made it, or call dispose() later.",
  );
}

export function isDisposed(tensor: tf.TensorInfo): boolean {
  return (tensor as Partial<tf.Tensor>).isDisposed === true;
}

/** Narrows to what a program can hold. */
export function supportedType(dtype: string, subject: () => string): DType {
  if (dtype === "float32" || dtype === "int32" || dtype === "bool") return dtype;
  throw new PeftError(
    "DTYPE_UNSUPPORTED",
    `${subject()} makes a ${dtype} tensor. A program knows float32, int32 and bool: convert before the function is called.`,
  );
}

export function typesDiffer(call: KernelCall): PeftError {
  return new PeftError(
    "DTYPE_MISMATCH",
    `${describeCall(call.kernel)} has inputs of several types (${typesOf(call)}), expected one. Convert them with tf.cast.`,
  );
}

/** `a: float32[2, 3], b: int32[]`. */
export function typesOf({ inputNames, inputs }: Pick<KernelCall, "inputNames" | "inputs">): string {
  return inputs.map(({ dtype, shape }, i) => `${inputNames[i]}: ${dtype}${shapeText(shape)}`).join(", ");
}

export function writerCall(): string {
  return describeCaller(stackHere());
}

/** Told by its shape, not by its class: tfjs-core may be loaded twice. */
function isVariable(tensor: tf.TensorInfo): tensor is tf.TensorInfo & { readonly name: string } {
  const candidate = tensor as Partial<tf.Variable>;
  return typeof candidate.name === "string" && typeof candidate.assign === "function";
}
