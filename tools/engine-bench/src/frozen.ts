import type { Frozen } from "@peftjs/models";

/** How a case may hold its frozen weights instead of in float32. `int8-words`: the table of words, too. */
const FROZEN = {
  bfloat16: "bfloat16",
  int8: "int8",
  "int8-words": { type: "int8", embeddings: "int8" },
  "int8-forward": { type: "int8", backward: "float32" },
} as const satisfies Record<string, Frozen>;

export type FrozenName = keyof typeof FROZEN;

export const FROZEN_NAMES = Object.keys(FROZEN) as readonly FrozenName[];

export function frozenOption(name: FrozenName | undefined): Frozen {
  return name === undefined ? "float32" : FROZEN[name];
}
