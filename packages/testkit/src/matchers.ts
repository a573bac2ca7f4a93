import { expect } from "vitest";
import { flatten, tol, worstDifference, type Comparable, type Tolerance } from "./close.ts";

interface MatcherResult {
  readonly pass: boolean;
  readonly message: () => string;
}

/** Compares all values and, where both sides have one, the shapes. Default tolerance: `tol.float32`. */
export function compareAllClose(
  actual: Comparable,
  expected: Comparable,
  tolerance: Tolerance = tol.float32,
): MatcherResult {
  const a = flatten(actual);
  const b = flatten(expected);
  const shapesDiffer = a.shape !== null && b.shape !== null && a.shape.join() !== b.shape.join();
  if (shapesDiffer || a.values.length !== b.values.length) {
    const describe = ({ shape, values }: typeof a): string =>
      shape === null ? `${values.length} values` : `shape [${shape.join(", ")}]`;
    return { pass: false, message: () => `expected ${describe(b)}, got ${describe(a)}` };
  }
  const worst = worstDifference(a.values, b.values, tolerance);
  const { absolute, relative } = tolerance;
  if (worst === null)
    return {
      pass: true,
      message: () => `expected values that differ by more than ${absolute} + ${relative}·|expected|`,
    };
  const { index, excess } = worst;
  return {
    pass: false,
    message: () =>
      `value ${index} of ${b.values.length} is ${worst.actual}, expected ${worst.expected}: ${excess.toPrecision(3)} times what ` +
      `${absolute} + ${relative}·|expected| allows`,
  };
}

declare module "vitest" {
  // The parameter is that of vitest's own interface.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  interface Matchers<T> {
    toBeAllClose(expected: Comparable, tolerance?: Tolerance): void;
  }
}

/** Adds `expect(value).toBeAllClose(reference, tol.float32)`. Call once per test file. */
export function installMatchers(): void {
  expect.extend({ toBeAllClose: compareAllClose });
}
