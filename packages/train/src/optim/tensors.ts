import { float32, int32, PeftError, sizeOf, zeros } from "@peftjs/core";
import type { HostTensor, Named, ParameterRule, TensorSpec } from "@peftjs/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { Optimizer } from "./optimizer.ts";

/**
 * State before the first step, keyed `<slot>.<parameter>`: zeros for every slot of every parameter, or for what the parameter's rule
 * keeps.
 */
export function initialState(
  optimizer: Pick<Optimizer, "slots">,
  params: Named<HostTensor>,
  rules: Named<ParameterRule> = {},
): Named<HostTensor> {
  const state: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries(params)) {
    const rule = rules[name];
    for (const slot of rule === undefined ? optimizer.slots : []) state[`${slot}.${name}`] = zeros(tensor.shape);
    for (const [slot, spec] of Object.entries(rule?.state ?? {})) state[`${slot}.${name}`] = zerosOf(spec);
  }
  return state;
}

function zerosOf({ shape, dtype }: TensorSpec): HostTensor {
  if (dtype === "float32") return zeros(shape);
  if (dtype === "int32") return int32(new Int32Array(sizeOf(shape)), shape);
  return { dtype, shape, data: new Uint8Array(sizeOf(shape)) };
}

/** The tensors of one parameter, by what stands before its key. */
export function tensorsOf<T>(tensors: Named<T>, key: string): Named<T> {
  const end = `.${key}`;
  const own = Object.entries(tensors).filter(([name]) => name.endsWith(end));
  return Object.fromEntries(own.map(([name, tensor]) => [name.slice(0, -end.length), tensor]));
}

/** The other way round. */
export function keyed<T>(tensors: Named<T>, key: string): Named<T> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${name}.${key}`, tensor]));
}

export function scalar(value: number): HostTensor {
  return float32([value], []);
}

/** A tensor that must be there. */
export function get<T = tf.Tensor>(tensors: Named<T>, name: string): T {
  const tensor = tensors[name];
  if (tensor === undefined) {
    throw new PeftError(
      "TENSOR_MISSING",
      `"${name}" is missing. There are: ${Object.keys(tensors).slice(0, 8).join(", ") || "none"}. Pass what the optimizer's slots, scalars and group return.`,
    );
  }
  return tensor;
}
