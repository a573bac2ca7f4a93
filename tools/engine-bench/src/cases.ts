/** One training step to time. Random weights: time and memory do not depend on them. */
export interface Case {
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly batch: number;
  readonly length: number;
  readonly method: "lora" | "full";
}

const BASE = { layers: 12, hidden: 768, heads: 12, vocabulary: 30522, batch: 8, length: 128 } as const;
const TINY = { layers: 4, hidden: 128, heads: 4, vocabulary: 8192, method: "lora" } as const;

export const CASES: readonly Case[] = [
  { name: "12x768-8x128-lora", ...BASE, method: "lora" },
  { name: "12x768-8x128-full", ...BASE, method: "full" },
  {
    name: "6x384-16x64-lora",
    layers: 6,
    hidden: 384,
    heads: 6,
    vocabulary: 30522,
    batch: 16,
    length: 64,
    method: "lora",
  },
  { name: "4x128-16x64-lora", ...TINY, batch: 16, length: 64 },
  { name: "4x128-8x32-lora", ...TINY, batch: 8, length: 32 },
];

/**
 * Floating-point operations of a step's matrix products, counting what must be done for sequence classification: forward, and
 * backward to the inputs (LoRA), or also to the weights (full). Products with the adapters (under 2 %) are left out.
 */
export function productFlops({ layers, hidden, batch, length, method }: Case): number {
  const tokens = batch * length;
  const perBlock = 2 * tokens * 12 * hidden ** 2 + 4 * tokens * length * hidden;
  // Only the first token leaves the last block: keys and values of all tokens, the rest for one row per sequence.
  const lastBlock = 2 * tokens * 2 * hidden ** 2 + 2 * batch * 10 * hidden ** 2;
  const forward = (layers - 1) * perBlock + lastBlock;
  return method === "full" ? 3 * forward : 2 * forward;
}
