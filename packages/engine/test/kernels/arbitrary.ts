import type { DType, HostTensor } from "@peftjs/core";
import { sizeOf } from "@peftjs/core";
import fc from "fast-check";

/** Which values a tensor may hold. */
export type Domain =
  /** Everything tfjs's types hold: NaN, infinities, −0, large and tiny numbers among them. */
  | { readonly kind: "anything" }
  /** The same without the large numbers: what sums in another order does not change by much. */
  | { readonly kind: "moderate" }
  /** Finite numbers in a range, no two the same and none whole: nowhere near a jump or a tie. */
  | { readonly kind: "smooth"; readonly from: number; readonly to: number };

export const anything: Domain = { kind: "anything" };

/** The domain for kernels that add. */
export function summable(domain: Domain): Domain {
  return domain.kind === "anything" ? { kind: "moderate" } : domain;
}

const SPECIAL = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, 1.5, 2.5, -0.5, -2.5, 1e-7, -1e-20, 1e20, -1e20, 90, -90];

const floatOr = (special: readonly number[]): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.float({ min: -4, max: 4, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(...special) },
  );

const FLOATS = {
  anything: floatOr(SPECIAL),
  moderate: floatOr(SPECIAL.filter((value) => !(Math.abs(value) > 4) || Math.abs(value) === Infinity)),
};

const INT = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: -5, max: 5 }) },
  { weight: 1, arbitrary: fc.integer({ min: -1000, max: 1000 }) },
);

/** A tensor's memory. No denormal numbers: compiled programs take them for 0. */
function data(dtype: DType, numbers: readonly number[]): HostTensor["data"] {
  if (dtype === "int32") return Int32Array.from(numbers);
  if (dtype === "bool") return Uint8Array.from(numbers);
  return Float32Array.from(numbers, (value) => (Math.abs(value) < 1e-30 && value !== 0 ? 0 : value));
}

/** `numbers` as a tensor. */
export function host(dtype: DType, shape: readonly number[], numbers: readonly number[]): HostTensor {
  return { dtype, shape, data: data(dtype, numbers) } as HostTensor;
}

/** A tensor of a known shape. */
export function tensor(shape: readonly number[], dtype: DType, domain: Domain = anything): fc.Arbitrary<HostTensor> {
  const size = sizeOf(shape);
  const list = (value: fc.Arbitrary<number>): fc.Arbitrary<HostTensor> =>
    fc.array(value, { minLength: size, maxLength: size }).map((numbers) => host(dtype, shape, numbers));
  if (dtype === "bool") return list(fc.integer({ min: 0, max: 1 }));
  if (dtype === "int32") return list(INT);
  if (domain.kind !== "smooth") return list(FLOATS[domain.kind]);
  const { from, to } = domain;
  return fc.integer({ min: 1, max: 1_000_000 }).map((seed) => host(dtype, shape, distinct(size, { from, to, seed })));
}

/** Evenly spread numbers in an order of the seed's, each moved a little off its place. */
function distinct(
  size: number,
  { from, to, seed }: { readonly from: number; readonly to: number; readonly seed: number },
) {
  const step = (to - from) / Math.max(1, size);
  const places = Array.from({ length: size }, (_, i) => i);
  const key = (i: number): number => ((i + seed) * 2654435761) % 4294967296;
  places.sort((a, b) => key(a) - key(b));
  return places.map((place) => from + (place + 0.37) * step);
}

/** A tensor of int32 numbers from 0 to `below` − 1. */
export function indices(shape: readonly number[], below: number): fc.Arbitrary<HostTensor> {
  const size = sizeOf(shape);
  return fc
    .array(fc.integer({ min: 0, max: Math.max(0, below - 1) }), { minLength: size, maxLength: size })
    .map((numbers) => host("int32", shape, numbers));
}

export interface Ranks {
  readonly min?: number;
  readonly max?: number;
  /** The smallest size of a dimension. */
  readonly smallest?: number;
}

const dimension = (smallest: number): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: Math.max(1, smallest), max: 4 }) },
    { weight: 1, arbitrary: fc.constant(smallest) },
  );

/** Shapes of rank 0 to 5 with sizes 0 to 4, at most 120 values. */
export function shape({ min = 0, max = 5, smallest = 0 }: Ranks = {}): fc.Arbitrary<number[]> {
  return fc.array(dimension(smallest), { minLength: min, maxLength: max }).filter((sizes) => sizeOf(sizes) <= 120);
}

/** Two shapes that broadcast: dimensions of one are missing or 1 where the other has them. */
export function broadcastable(ranks: Ranks = {}): fc.Arbitrary<readonly [number[], number[]]> {
  return shape(ranks).chain((full) => {
    const part = fc
      .tuple(fc.nat({ max: full.length }), fc.array(fc.boolean(), { minLength: full.length, maxLength: full.length }))
      .map(([missing, ones]) => full.map((size, axis) => (ones[axis] === true ? 1 : size)).slice(missing));
    return fc.oneof(fc.tuple(part, part), fc.tuple(fc.constant(full), part), fc.tuple(part, fc.constant(full)));
  });
}

/** An axis, counted from either end. */
export function axis(rank: number): fc.Arbitrary<number> {
  return fc.integer({ min: -rank, max: rank - 1 });
}

/** Some axes or none, each counted from either end; undefined stands for all. */
export function axes(rank: number): fc.Arbitrary<number[] | undefined> {
  const some = fc
    .uniqueArray(fc.nat({ max: Math.max(0, rank - 1) }), { maxLength: rank })
    .chain((list) => fc.tuple(...list.map((at) => fc.constantFrom(at, at - rank))));
  return rank === 0 ? fc.constant(undefined) : fc.option(some, { nil: undefined });
}
