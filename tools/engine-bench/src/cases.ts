import type { FrozenName } from "./frozen.ts";
import { FROZEN_NAMES } from "./frozen.ts";
import { DENSE } from "./methods.ts";
import type { MethodName } from "./methods.ts";

/** One training step to time. Random weights: time and memory do not depend on them. */
export interface Case {
  readonly name: string;
  /** `encoder`: BERT-shaped, classifies sequences. `decoder`: GPT-2-shaped, predicts every next token. */
  readonly model: "encoder" | "decoder";
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly batch: number;
  readonly length: number;
  readonly method: MethodName;
  /** Default: float32. */
  readonly frozen?: FrozenName;
}

const BERT = { model: "encoder", vocabulary: 30_522 } as const;
const BASE = { ...BERT, layers: 12, hidden: 768, heads: 12, batch: 8, length: 128 } as const;
const LARGE = { ...BERT, layers: 24, hidden: 2048, heads: 32 } as const;
const SMALL = { ...BERT, layers: 6, hidden: 384, heads: 6, method: "lora" } as const;
const TINY = { model: "encoder", vocabulary: 8192, layers: 4, hidden: 128, heads: 4, method: "lora" } as const;
const GPT2 = { model: "decoder", vocabulary: 50_257, layers: 12, hidden: 768, heads: 12, method: "lora" } as const;

export const CASES: readonly Case[] = [
  { name: "12x768-8x128-lora", ...BASE, method: "lora" },
  { name: "12x768-8x128-lora-all", ...BASE, method: "lora-all" },
  { name: "12x768-8x128-rows", ...BASE, method: "rows" },
  { name: "12x768-8x128-columns", ...BASE, method: "columns" },
  { name: "12x768-8x128-full", ...BASE, method: "full" },
  { name: "6x384-16x64-lora", ...SMALL, batch: 16, length: 64 },
  { name: "4x128-16x64-lora", ...TINY, batch: 16, length: 64 },
  { name: "4x128-8x32-lora", ...TINY, batch: 8, length: 32 },
  { name: "12x768-4x128-causal-lora", ...GPT2, batch: 4, length: 128 },
  { name: "12x768-8x128-lora-ist", ...BASE, method: "lora-ist" },
  { name: "12x768-8x128-blocks", ...BASE, method: "blocks" },
  { name: "12x768-8x128-galore", ...BASE, method: "galore" },
  { name: "12x768-8x128-galore-layerwise", ...BASE, method: "galore-layerwise" },
];

/** Run when they are named: 1.27 billion parameters, 5.1 GB in float32. */
export const LARGE_CASES: readonly Case[] = [
  { name: "24x2048-4x128-lora", ...LARGE, batch: 4, length: 128, method: "lora" },
];

/** The same step on weights that are held in another way. */
export function frozenAs(task: Case, frozen: FrozenName): Case {
  return { ...task, frozen, name: `${task.name}-${frozen}` };
}

/** The cases of these names; a name may end in how the frozen weights are held. Throws for a name that does not exist. */
export function casesNamed(names: readonly string[]): readonly Case[] {
  const cases = [...CASES, ...LARGE_CASES];
  const held = cases.flatMap((task) => FROZEN_NAMES.map((frozen) => frozenAs(task, frozen)));
  return names.map((name) => {
    const found = [...cases, ...held].find((task) => task.name === name);
    if (found !== undefined) return found;
    throw new Error(
      `No case "${name}". Cases: ${cases.map((task) => task.name).join(", ")}; each also with -${FROZEN_NAMES.join(", -")} after it.`,
    );
  });
}

/**
 * Floating-point operations of the matrix products that a step cannot do without. With n = batch·T tokens of width h:
 *
 * - a weight of a values costs 2·n·a forward, as much backward to its input, and as much again backward to itself when it is
 *   trained as it is. A block has 12·h² (query, key, value, output 4·h², feed-forward 8·h²).
 * - attention has two products of 2·n·T·h forward (half of that when causal) and four of them backward: both factors need
 *   a gradient.
 * - of an encoder's last block only the first token of each sequence is read: keys and values for all tokens, the rest for one
 *   row per sequence. A decoder ends in 2·n·h·V for the logits.
 * - the first block's query, key and value need no gradient to their input when the embeddings are frozen.
 *
 * Products with the adapters (under 2 %) and with the bases of projections are left out. Where plug-ins choose what learns, it is a step
 * in which everything does: the fewer operations there are really, the higher the rate seems.
 */
export function productFlops(task: Case): number {
  const { layers, hidden, vocabulary, batch, length, method } = task;
  const tokens = batch * length;
  const block = { weights: 2 * tokens * 12 * hidden ** 2, attention: 4 * tokens * length * hidden };
  const queryKeyValue = 2 * tokens * 3 * hidden ** 2;
  const forward =
    task.model === "decoder"
      ? {
          weights: layers * block.weights + 2 * tokens * hidden * vocabulary,
          attention: (layers * block.attention) / 2,
        }
      : {
          weights: (layers - 1) * block.weights + 4 * tokens * hidden ** 2 + 2 * batch * 10 * hidden ** 2,
          attention: (layers - 1) * block.attention + 4 * batch * length * hidden,
        };
  const weights = (DENSE.includes(method) ? 3 : 2) * forward.weights - (method === "full" ? 0 : queryKeyValue);
  return weights + 3 * forward.attention;
}
