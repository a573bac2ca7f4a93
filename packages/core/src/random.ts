import { mersenne, mersenneFromState } from "pure-rand/generator/mersenne";
import { float32, sizeOf, type HostTensor } from "./tensors.ts";

/** Everything needed to continue a generator where it stopped: 625 words, and half of the last pair of normal numbers. */
export interface GeneratorState {
  readonly words: readonly number[];
  readonly nextNormal: number | null;
}

/** Seeded generator equal to torch's CPU generator (MT19937): the same seed and calls give the same numbers. */
export interface Generator {
  /** 32 random bits, as an unsigned integer. */
  next32(): number;
  /** `n` numbers uniform in [low, high), as `tensor.uniform_(low, high)` in float32: one draw of 32 bits each, 24 of them used. */
  uniform(n: number, low?: number, high?: number): Float32Array;
  /**
   * `n` normal numbers, as `tensor.normal_(mean, std)` in float32. From 16 numbers on torch draws float32 pairs eight
   * apart and draws the last 16 anew when n is no multiple of 16; below, it draws float64 pairs and keeps the spare one.
   */
  normal(n: number, mean?: number, std?: number): Float32Array;
  /** The numbers 0 … n−1 in random order, as `torch.randperm(n)`. */
  permutation(n: number): Int32Array;
  state(): GeneratorState;
}

const TWO_PI = 2 * Math.PI;
const UNIT_24 = 2 ** -24;
const UNIT_53 = 2 ** -53;

/** A generator seeded as `torch.Generator().manual_seed(seed)`, or continued from a saved state. */
export function createGenerator(seed: number | GeneratorState): Generator {
  const bits = typeof seed === "number" ? mersenne(seed) : mersenneFromState([...seed.words]);
  let spare = typeof seed === "number" ? null : seed.nextNormal;

  const next32 = (): number => bits.next() >>> 0;
  const unit24 = (): number => (bits.next() & 0xffffff) * UNIT_24;
  const unit53 = (): number => {
    const high = next32() & 0x1fffff;
    return (high * 2 ** 32 + next32()) * UNIT_53;
  };

  function uniform(n: number, low = 0, high = 1): Float32Array {
    const from = Math.fround(low);
    const range = Math.fround(Math.fround(high) - from);
    // The product of two float32 is exact in float64, so this rounds once, as the fused multiply-add that torch uses.
    return Float32Array.from({ length: n }, () => unit24() * range + from);
  }

  function normal(n: number, mean = 0, std = 1): Float32Array {
    const values = new Float32Array(n);
    if (n < 16) {
      for (let i = 0; i < n; i++) values[i] = nextNormal() * std + mean;
      return values;
    }
    for (let i = 0; i < n; i++) values[i] = unit24();
    for (let i = 0; i + 16 <= n; i += 16) boxMuller16(values.subarray(i, i + 16), mean, std);
    if (n % 16 !== 0) {
      const last = values.subarray(n - 16);
      for (let i = 0; i < 16; i++) last[i] = unit24();
      boxMuller16(last, mean, std);
    }
    return values;
  }

  function nextNormal(): number {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const angle = TWO_PI * unit53();
    const radius = Math.sqrt(-2 * Math.log1p(-unit53()));
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  function permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const j = i + (next32() % (n - i));
      const value = order[i] as number;
      order[i] = order[j] as number;
      order[j] = value;
    }
    return order;
  }

  return { next32, uniform, normal, permutation, state: () => ({ words: [...bits.getState()], nextNormal: spare }) };
}

/** Sixteen uniform numbers to sixteen normal ones, in place: pairs are eight apart. */
function boxMuller16(values: Float32Array, mean: number, std: number): void {
  for (let j = 0; j < 8; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - (values[j] as number)));
    const angle = TWO_PI * (values[j + 8] as number);
    values[j] = radius * Math.cos(angle) * std + mean;
    values[j + 8] = radius * Math.sin(angle) * std + mean;
  }
}

/**
 * Uniform in ±√(6 / ((1 + a²)·fanIn)) (He et al. 2015, eq. 10 with a leaky slope), fanIn the product of all dimensions but the
 * first. With torch's a = √5, the default of its linear layers, the bound is 1/√fanIn.
 */
export function kaimingUniform(shape: readonly number[], generator: Generator, a = Math.sqrt(5)): HostTensor {
  const fanIn = sizeOf(shape.slice(1));
  const bound = (Math.sqrt(3) * Math.sqrt(2 / (1 + a * a))) / Math.sqrt(fanIn);
  return float32(generator.uniform(sizeOf(shape), -bound, bound), shape);
}

/** A generator whose numbers are all zero, for values that are about to be replaced. */
export function blankGenerator(): Generator {
  return {
    next32: () => 0,
    uniform: (n) => new Float32Array(n),
    normal: (n) => new Float32Array(n),
    permutation: (n) => Int32Array.from({ length: n }, (_, i) => i),
    state: () => ({ words: [], nextNormal: null }),
  };
}
