import type { Named, StoredTensor } from "@peftjs/core";
import { isInt8 } from "@peftjs/core";
import type { Groups } from "./engine.ts";

/** One leaf of a `Groups` value. */
export interface Leaf<T> {
  readonly group: string;
  readonly name: string;
  readonly value: T;
}

/** Leaves in the order of the object's keys. */
export function leaves<T>(groups: Groups<T>): Leaf<T>[] {
  return Object.entries(groups).flatMap(([group, named]) =>
    Object.entries(named).map(([name, value]) => ({ group, name, value })),
  );
}

/** Inverse of `leaves`; `names` are groups that are there without leaves, too. */
export function regroup<T>(list: readonly Leaf<T>[], names: readonly string[] = []): Groups<T> {
  const groups: Record<string, Record<string, T>> = Object.fromEntries(names.map((name) => [name, {}]));
  for (const { group, name, value } of list) (groups[group] ??= {})[name] = value;
  return groups as Record<string, Named<T>>;
}

/** Two calls with equal signatures can share a program. */
export function signatureOf(args: Groups<StoredTensor>): string {
  const described = leaves(args).map(
    ({ group, name, value }) => `${group}/${name}:${typeOf(value)}[${value.shape.join(",")}]`,
  );
  return [...Object.keys(args), ...described].join(";");
}

function typeOf(tensor: StoredTensor): string {
  if (!isInt8(tensor)) return tensor.dtype;
  const { axis, backward, inputScales } = tensor;
  return `int8/${axis}/${backward}${inputScales === undefined ? "" : "/inputs"}`;
}
