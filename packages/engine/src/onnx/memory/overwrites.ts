import { PeftError, type HostTensor, type StoredTensor } from "@peftjs/core";
import type { Groups } from "../../engine.ts";
import { leaves, type Leaf } from "../../groups.ts";

/** A result that is written over the memory of arguments. */
export interface Overwrite {
  readonly group: string;
  readonly name: string;
  /** Places of the arguments, `group/name`. */
  readonly inputs: readonly string[];
}

/**
 * Which results share their memory with arguments.
 * @throws PeftError `RESULT_OVERLAPS` when a result covers a part of an argument's memory, or two results share memory.
 */
export function overwritesOf(args: Groups<StoredTensor>, into: Groups<HostTensor>): Overwrite[] {
  const targets = leaves(into);
  if (targets.length === 0) return [];
  const byBuffer = new Map<ArrayBufferLike, Leaf<StoredTensor>[]>();
  for (const leaf of leaves(args)) {
    const { buffer } = leaf.value.data;
    byBuffer.set(buffer, [...(byBuffer.get(buffer) ?? []), leaf]);
  }
  const seen = new Map<ArrayBufferLike, Leaf<HostTensor>[]>();
  return targets.flatMap((target) => {
    const { buffer } = target.value.data;
    const earlier = seen.get(buffer) ?? [];
    const twin = earlier.find((other) => overlaps(other.value, target.value));
    if (twin !== undefined) throw overlapError(target, `the result ${placeOf(twin)}`);
    seen.set(buffer, [...earlier, target]);
    const shared = (byBuffer.get(buffer) ?? []).filter(({ value }) => overlaps(value, target.value));
    const partly = shared.find(({ value }) => !covers(value, target.value));
    if (partly !== undefined) throw overlapError(target, `a part of the argument ${placeOf(partly)}`);
    return shared.length === 0 ? [] : [{ group: target.group, name: target.name, inputs: shared.map(placeOf) }];
  });
}

export function placeOf({ group, name }: { readonly group: string; readonly name: string }): string {
  return `${group}/${name}`;
}

function overlaps({ data: a }: StoredTensor, { data: b }: StoredTensor): boolean {
  return a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}

function covers({ data: a }: StoredTensor, { data: b }: StoredTensor): boolean {
  return a.byteOffset === b.byteOffset && a.byteLength === b.byteLength;
}

function overlapError(target: Leaf<HostTensor>, other: string): PeftError {
  return new PeftError(
    "RESULT_OVERLAPS",
    `The result ${placeOf(target)} is to be written to memory that ${other} has, too. Give every result memory of its own, or that of one whole argument.`,
  );
}
