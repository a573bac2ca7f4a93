import { float32, sizeOf, type HostTensor, type ParameterSpec } from "@peftjs/core";

/** FNV-1a, 32 bit, of the UTF-8 bytes. */
export function seedOf(name: string): number {
  let hash = 2166136261;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  return hash;
}

/** mulberry32: numbers in [0, 1). */
export function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tensor that depends on its name and shape alone: the same in every language. */
export function deterministicTensor(name: string, shape: readonly number[]): HostTensor {
  const draw = mulberry32(seedOf(name));
  const lower = name.toLowerCase();
  const isNorm = (lower.includes("norm") || lower.includes(".ln_")) && lower.endsWith("weight");
  const data = Float32Array.from({ length: sizeOf(shape) }, () => {
    const r = 2 * draw() - 1;
    if (isNorm) return 1 + 0.3 * r;
    return (shape.length === 1 ? 0.1 : 0.5) * r;
  });
  return float32(data, shape);
}

export function deterministicWeights(specs: readonly ParameterSpec[]): Map<string, HostTensor> {
  return new Map(
    specs
      .filter((spec) => spec.tiedTo === undefined)
      .map((spec) => [spec.name, deterministicTensor(spec.name, spec.shape)]),
  );
}
