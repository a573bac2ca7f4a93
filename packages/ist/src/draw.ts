import type { Generator } from "@peftjs/core";
import { subsets } from "./config.ts";
import type { Sampler } from "./config.ts";

/** Draws of a candidate that may fail to differ before it is drawn uniformly. */
const ATTEMPTS = 100;

/** A set of `count` of the blocks 0 … weights.length − 1, ascending, drawn with weights ≥ 0. */
export type Draw = (weights: readonly number[], count: number, generator: Generator) => number[];

/**
 * Sequential sampling without replacement: one block with probability wᵢ / Σw, then one of the others, and so on. Takes `count`
 * uniform numbers. Where all that is left has weight 0 it is uniform.
 */
export const draw: Draw = (weights, count, generator) => {
  const left = weights.map((weight, block) => ({ block, weight }));
  const drawn: number[] = [];
  while (drawn.length < count) {
    const total = left.reduce((sum, { weight }) => sum + weight, 0);
    const [u] = generator.uniform(1) as unknown as [number];
    const at = total > 0 ? place(left, u * total) : Math.floor(u * left.length);
    drawn.push(...left.splice(at, 1).map(({ block }) => block));
  }
  return ascending(drawn);
};

/** The entry in which `point` of [0, Σw) lies. */
function place(entries: readonly { readonly weight: number }[], point: number): number {
  let sum = 0;
  const at = entries.findIndex(({ weight }) => (sum += weight) > point);
  // Rounding may leave the point behind the last entry that has a weight.
  return at >= 0 ? at : entries.findLastIndex(({ weight }) => weight > 0);
}

/** The blocks of the largest uᵢ ~ U(0, wᵢ). Takes a uniform number per block. */
const drawUniformTop: Draw = (weights, count, generator) => {
  const heights = generator.uniform(weights.length);
  return largest(
    weights.map((weight, i) => [weight * (heights[i] as number), 0]),
    count,
  );
};

/** The blocks of the largest weights, equal ones in random order. Takes a uniform number per block. */
const drawTop: Draw = (weights, count, generator) => {
  const order = generator.uniform(weights.length);
  return largest(
    weights.map((weight, i) => [weight, order[i] as number]),
    count,
  );
};

function largest(keys: readonly (readonly [number, number])[], count: number): number[] {
  const order = [...keys.entries()].sort(([, a], [, b]) => b[0] - a[0] || b[1] - a[1]);
  return ascending(order.slice(0, count).map(([block]) => block));
}

export const samplers: Readonly<Record<Sampler, Draw>> = {
  sequential: draw,
  "uniform-topk": drawUniformTop,
  topk: drawTop,
};

function ascending(blocks: readonly number[]): number[] {
  return [...blocks].sort((a, b) => a - b);
}

/**
 * `candidates` different sets, at most C(N, count): each is drawn again until it differs from those before. Weights that are so
 * uneven that this fails 100 times give way to equal ones, so that it ends.
 */
export function drawCandidates(
  weights: readonly number[],
  { count, candidates }: { readonly count: number; readonly candidates: number },
  generator: Generator,
): number[][] {
  const sets = new Map<string, number[]>();
  const even = weights.map(() => 1);
  const wanted = Math.min(candidates, subsets(weights.length, count));
  while (sets.size < wanted) {
    const before = sets.size;
    for (let attempt = 0; sets.size === before; attempt++) {
      const set = draw(attempt < ATTEMPTS ? weights : even, count, generator);
      sets.set(set.join(), set);
    }
  }
  return [...sets.values()];
}
