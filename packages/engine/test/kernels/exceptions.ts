import type { HostTensor } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import type { Inputs } from "../harness.ts";

interface Call {
  readonly kernel: string;
  readonly inputs: Inputs;
  /** What a case says of its call beside the tensors. */
  readonly facts: Readonly<Record<string, unknown>>;
}

interface Exception {
  readonly kernels: readonly string[];
  /** Why the two may differ. */
  readonly reason: string;
  readonly when: (call: Call) => boolean;
}

const LARGEST_INT = 2 ** 31;

const numbers = (tensor: HostTensor | undefined): readonly number[] => Array.from(tensor?.data ?? []);
const isEmpty = (tensor: HostTensor | undefined): boolean => sizeOf(tensor?.shape ?? []) === 0;
const isFloat = (tensor: HostTensor | undefined): boolean => tensor?.dtype === "float32";
const isInt = (value: number): boolean => Math.abs(value) < LARGEST_INT;
const largest = (tensor: HostTensor | undefined): number =>
  Math.max(0, ...numbers(tensor).filter(Number.isFinite).map(Math.abs));

/** Whether the batches of `part`, without ones in front, are the last of `whole`'s. */
function repeats(part: HostTensor | undefined, whole: HostTensor | undefined): boolean {
  const batches = (tensor: HostTensor | undefined): readonly number[] => tensor?.shape.slice(0, -2) ?? [];
  const first = batches(part).findIndex((size) => size !== 1);
  const own = first === -1 ? [] : batches(part).slice(first);
  return own.length === 0 || own.join() === batches(whole).slice(-own.length).join();
}

/** Where a compiled kernel does not have to agree with tfjs's cpu kernel. */
export const EXCEPTIONS: readonly Exception[] = [
  {
    kernels: ["Cast"],
    reason:
      "No int32 stands for NaN, an infinity or a number beyond ±2³¹: tfjs's cpu kernel takes 0 or wraps around, processors saturate.",
    when: ({ inputs: { x }, facts }) => facts["to"] === "int32" && !numbers(x).every(isInt),
  },
  {
    kernels: ["FloorDiv"],
    reason: "As in Cast: the result is int32, and a quotient of floats may be none.",
    when: ({ inputs: { a, b } }) =>
      isFloat(a) &&
      (![...numbers(a), ...numbers(b)].every(isInt) || numbers(b).some((value) => Math.abs(value) < 0.01)),
  },
  {
    kernels: ["Pow"],
    reason: "As in Cast: the power of whole numbers may be none, or beyond ±2³¹.",
    when: ({ inputs: { a, b } }) =>
      !isFloat(a) &&
      ((numbers(a).includes(0) && Math.min(...numbers(b)) < 0) || largest(a) ** largest(b) >= LARGEST_INT),
  },
  {
    kernels: ["Pow"],
    reason: "JavaScript's 1^NaN and (±1)^±∞ are NaN; IEEE 754's, TensorFlow's and ONNX's are 1.",
    when: ({ inputs: { a, b } }) =>
      numbers(a).some((base) => Math.abs(base) === 1) && !numbers(b).every(Number.isFinite),
  },
  {
    kernels: ["Mod"],
    reason: "−1 mod ∞ is ∞ as in Python; tfjs adds the divisor and divides again, and ∞/∞ is NaN.",
    when: ({ inputs: { b } }) => isFloat(b) && numbers(b).some((value) => Math.abs(value) === Infinity),
  },
  {
    kernels: ["Select"],
    reason: "tf.where broadcasts with tf.broadcastTo, which leaves a dimension of size 1 that should become 0.",
    when: ({ inputs: { a, b } }) => isEmpty(a) || isEmpty(b),
  },
  {
    kernels: ["Mod"],
    reason:
      "A remainder of the other sign than the divisor's, and a tiny part of it: remainder + divisor is the divisor in float32.",
    when: ({ inputs: { a, b } }) =>
      isFloat(b) && numbers(a).some((value) => value !== 0 && Math.abs(value) < 1e-5 * Math.max(1, largest(b))),
  },
  {
    kernels: ["All", "Max", "Min", "ArgMax", "ArgMin"],
    reason:
      "Of no values, tfjs's cpu kernels read past the end. Compiled, all of them are true, the largest is −∞ and the smallest ∞ (the " +
      "least and greatest int32); there is no place of one.",
    when: ({ inputs: { x } }) => isEmpty(x),
  },
  {
    kernels: ["ArgMax", "ArgMin", "TopK"],
    reason: "NaN has no place in an order.",
    when: ({ inputs: { x } }) => numbers(x).some(Number.isNaN),
  },
  {
    kernels: ["TopK"],
    reason: "tfjs's cpu kernel compares by subtraction: ∞ − ∞ has no sign.",
    when: ({ inputs: { x } }) => !numbers(x).every(Number.isFinite),
  },
  {
    kernels: ["Prod", "Cumprod"],
    reason: "Numbers small enough underflow in one order of the product and not in another.",
    when: ({ inputs: { x } }) => isFloat(x) && numbers(x).some((value) => value !== 0 && Math.abs(value) < 1e-5),
  },
  {
    kernels: ["Prod", "Cumprod"],
    reason: "As in Cast: a product of whole numbers may lie beyond ±2³¹.",
    when: ({ inputs: { x } }) =>
      !isFloat(x) && numbers(x).reduce((total, value) => total * Math.max(1, Math.abs(value)), 1) >= LARGEST_INT,
  },
  {
    kernels: ["UnsortedSegmentSum"],
    reason: "tfjs's cpu kernel multiplies the rows of other segments by 0, which does not remove NaN and infinities.",
    when: ({ inputs: { x } }) => !numbers(x).every(Number.isFinite),
  },
  {
    kernels: ["BatchMatMul"],
    reason:
      "tfjs's cpu kernel counts batches modulo the smaller number of them: right only where whole batches are repeated.",
    when: ({ inputs: { a, b } }) => !repeats(a, b) && !repeats(b, a),
  },
  {
    kernels: ["Cumsum", "Cumprod"],
    reason: "tfjs does not count their axis from the end: the cpu kernel returns a shape with an undefined dimension.",
    when: ({ facts }) => (facts["axes"] as readonly number[]).some((axis) => axis < 0),
  },
];

export function isException(call: Call): boolean {
  return EXCEPTIONS.some(({ kernels, when }) => kernels.includes(call.kernel) && when(call));
}
