/** |a − b| ≤ absolute + relative·|b| for every pair. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** Named tolerances, so that every test says what it compares. */
export const tol = {
  /** Equal bits; −0 equals 0. */
  exact: { absolute: 0, relative: 0 },
  /** One float32 computation against another order of the same operations. */
  float32: { absolute: 1e-6, relative: 1e-5 },
  /** A deep float32 computation (a whole model, a curve of losses). */
  deep: { absolute: 1e-5, relative: 1e-4 },
  /** A gradient against finite differences of float32 values. */
  finiteDifference: { absolute: 2e-3, relative: 2e-2 },
  /** Values that went through half precision. */
  float16: { absolute: 1e-6, relative: 1e-3 },
  bfloat16: { absolute: 1e-6, relative: 8e-3 },
} as const satisfies Record<string, Tolerance>;

/** Anything with numbers and perhaps a shape: a tfjs tensor, a host tensor, a typed or nested array. */
export type Comparable =
  | number
  | ArrayLike<number>
  | readonly Comparable[]
  | { readonly shape: readonly number[]; readonly data: ArrayLike<number> }
  | { readonly shape: readonly number[]; dataSync(): ArrayLike<number> };

export interface Flat {
  readonly values: readonly number[];
  /** Null when the value says nothing of its shape (a flat list). */
  readonly shape: readonly number[] | null;
}

export function flatten(value: Comparable): Flat {
  if (typeof value === "number") return { values: [value], shape: null };
  if ("dataSync" in value) return { values: Array.from(value.dataSync()), shape: value.shape };
  if ("data" in value) return { values: Array.from(value.data), shape: value.shape };
  if (!Array.isArray(value)) return { values: Array.from(value as ArrayLike<number>), shape: null };
  const items = (value as readonly Comparable[]).map(flatten);
  const nested = items.length > 0 && typeof value[0] !== "number";
  return {
    values: items.flatMap((item) => item.values),
    shape: nested ? [items.length, ...(items[0]?.shape ?? [items[0]?.values.length ?? 0])] : null,
  };
}

export interface Difference {
  readonly index: number;
  readonly actual: number;
  readonly expected: number;
  /** |a − b| over what the tolerance allows; infinite when one of them is not finite. */
  readonly excess: number;
}

/** The worst pair, or null when all are close. NaN is close to NaN only, an infinity to the same infinity only. */
export function worstDifference(
  actual: readonly number[],
  expected: readonly number[],
  { absolute, relative }: Tolerance,
): Difference | null {
  let worst: Difference | null = null;
  for (let index = 0; index < expected.length; index++) {
    const a = actual[index] as number;
    const b = expected[index] as number;
    if (Object.is(a, b) || a === b) continue;
    const finite = Number.isFinite(a) && Number.isFinite(b);
    const allowed = absolute + relative * Math.abs(b);
    const excess = finite ? Math.abs(a - b) / allowed : Infinity;
    if (excess > 1 && (worst === null || excess > worst.excess)) worst = { index, actual: a, expected: b, excess };
  }
  return worst;
}
