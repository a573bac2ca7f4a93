import type { BaseModel } from "../model/model.ts";
import type { StoredTensor } from "../tensors.ts";

const groups = new WeakMap<ReadonlyMap<string, StoredTensor>, Map<StoredTensor, string[]>>();

/** All names of the parameter that `name` names, itself included, in the model's order: parameters are tied when they are one object. */
export function tiedNames(base: BaseModel, name: string): readonly string[] {
  let byTensor = groups.get(base.parameters);
  const tensor = base.parameters.get(name);
  if (tensor === undefined) return [name];
  if (byTensor?.get(tensor)?.includes(name) !== true) {
    byTensor = new Map();
    for (const [key, value] of base.parameters) byTensor.set(value, [...(byTensor.get(value) ?? []), key]);
    groups.set(base.parameters, byTensor);
  }
  return byTensor.get(tensor) as string[];
}
