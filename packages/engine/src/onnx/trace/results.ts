import { PeftError } from "@peftjs/core";
import * as tf from "@tensorflow/tfjs-core";
import type { Leaf } from "../../groups.ts";
import { kindOf } from "./arguments.ts";

const EXPECTED = "A compiled function returns groups of named tensors: { group: { name: tensor } }.";

/** @throws PeftError `FUNCTION_ASYNC` for a promise. */
export function refusePromise(results: unknown): void {
  if (!isPromise(results)) return;
  // Whatever becomes of the promise, nobody waits for it any more.
  results.then(
    () => {},
    () => {},
  );
  throw new PeftError(
    "FUNCTION_ASYNC",
    "The compiled function returns a promise. A function is compiled in one synchronous call: " +
      "remove async and await from it, and await what has to be awaited before `run`.",
  );
}

/**
 * The results as leaves.
 * @throws PeftError `RESULT_NOT_TENSOR` naming what is not a tensor.
 */
export function resultLeaves(results: unknown): Leaf<tf.Tensor>[] {
  if (!isRecord(results)) {
    throw new PeftError("RESULT_NOT_TENSOR", `The compiled function returns ${kindOf(results)}. ${EXPECTED}`);
  }
  return Object.entries(results).flatMap(([group, named]) => {
    if (!isRecord(named)) {
      throw new PeftError("RESULT_NOT_TENSOR", `The result group "${group}" is ${kindOf(named)}. ${EXPECTED}`);
    }
    return Object.entries(named).map(([name, value]) => ({ group, name, value: tensorAt(`${group}/${name}`, value) }));
  });
}

function tensorAt(where: string, value: unknown): tf.Tensor {
  if (value instanceof tf.Tensor) return value;
  const remedy =
    typeof value === "number" || typeof value === "boolean"
      ? " Return tf.scalar(…) of it."
      : isRecord(value) || Array.isArray(value)
        ? " Results are not nested: give every tensor a name of its own in the group."
        : isPromise(value)
          ? " Results are computed in one synchronous call."
          : "";
  throw new PeftError("RESULT_NOT_TENSOR", `The result ${where} is ${kindOf(value)}, expected a tensor.${remedy}`);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return !(value instanceof tf.Tensor) && !isPromise(value);
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}
