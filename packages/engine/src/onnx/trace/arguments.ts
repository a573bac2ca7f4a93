import type { Int8Tensor, StoredTensor } from "@peftjs/core";
import { PeftError, sizeOf } from "@peftjs/core";
import type { Groups } from "../../engine.ts";

const ARRAYS = {
  float32: Float32Array,
  int32: Int32Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
} as const satisfies Record<StoredTensor["dtype"], unknown>;

/** Tensors that were found to be right: an argument of every step is looked at once. */
const checked = new WeakSet<StoredTensor>();

/**
 * @throws PeftError `ARGUMENT_NOT_TENSOR`, `DTYPE_UNSUPPORTED`, `DTYPE_MISMATCH` or `SHAPE_MISMATCH` for what is not a host tensor
 *   whose values fit its type and shape.
 */
export function checkArguments(args: Groups<StoredTensor>): void {
  for (const [group, named] of Object.entries(args)) {
    if (!isObject(named)) {
      throw new PeftError(
        "ARGUMENT_NOT_TENSOR",
        `The argument group "${group}" is ${kindOf(named)}, expected an object of named host tensors.`,
      );
    }
    for (const [name, tensor] of Object.entries(named)) {
      if (isObject(tensor) && checked.has(tensor)) continue;
      checkTensor(`${group}/${name}`, tensor);
      checked.add(tensor);
    }
  }
}

function checkTensor(where: string, tensor: unknown): asserts tensor is StoredTensor {
  if (!isObject(tensor) || Array.isArray(tensor)) {
    throw new PeftError(
      "ARGUMENT_NOT_TENSOR",
      `The argument ${where} is ${kindOf(tensor)}, expected a host tensor. Make one with float32, int32 or zeros of @peftjs/core.`,
    );
  }
  const { dtype, shape, data } = tensor as Partial<StoredTensor>;
  if (typeof data === "function") {
    throw new PeftError(
      "ARGUMENT_NOT_TENSOR",
      `The argument ${where} is a tensor of tfjs; engines take host tensors. Convert it: float32(await tensor.data(), tensor.shape).`,
    );
  }
  const array = Object.entries(ARRAYS).find(([known]) => known === dtype)?.[1];
  if (array === undefined) {
    throw new PeftError(
      "DTYPE_UNSUPPORTED",
      `The argument ${where} has the type ${String(dtype)}. A program knows float32, int32 and bool, and reads float16, bfloat16 and int8.`,
    );
  }
  if (!(data instanceof array)) {
    throw new PeftError(
      "DTYPE_MISMATCH",
      `The argument ${where} has the type ${String(dtype)} and its values are ${kindOf(data)}, expected a ${array.name}. ` +
        "float32, int32 and zeros of @peftjs/core make both fit.",
    );
  }
  const expected = sizeOf(shape ?? []);
  if (data.length !== expected) {
    throw new PeftError(
      "SHAPE_MISMATCH",
      `The argument ${where} of shape [${shape?.join(", ")}] has ${data.length} values, expected ${expected}.`,
    );
  }
  if (dtype === "int8") checkScales(where, tensor as Int8Tensor);
}

function checkScales(where: string, { shape, axis, scales, inputScales }: Int8Tensor): void {
  const check = (factors: unknown, { what, along }: { readonly what: string; readonly along: number }): void => {
    if (shape.length === 2 && factors instanceof Float32Array && factors.length === shape[along]) return;
    throw new PeftError(
      "SHAPE_MISMATCH",
      `The argument ${where} of shape [${shape.join(", ")}] is of eight bits, and its \`${what}\` are ${kindOf(factors)} of ${String((factors as Float32Array | undefined)?.length)} values, ` +
        `expected a matrix with a Float32Array of one for each index of axis ${along}. quantize of @peftjs/core makes them.`,
    );
  };
  check(scales, { what: "scales", along: axis });
  if (inputScales !== undefined) check(inputScales, { what: "inputScales", along: 1 - axis });
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** What a value is, for people: `a number`, `a Float64Array`, `null`. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  const name = typeof value === "object" ? (value.constructor?.name ?? "object") : typeof value;
  return /^[aeiou]/i.test(name) ? `an ${name}` : `a ${name}`;
}
