import type { Method } from "./method.ts";

/**
 * Whether adapters of both methods are of one kind to a host function: it is the same method, or both have the same function and file
 * type. Methods that differ in their defaults or in how they learn write the same files, so a file may be read as another than wrote it.
 */
export function areAlike(one: Method, other: Method, by: "combine" | "refit"): boolean {
  if (one === other) return true;
  return one[by] !== undefined && one[by] === other[by] && one.wire.peftType === other.wire.peftType;
}
