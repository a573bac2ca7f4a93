import type { HostTensor } from "@peftjs/core";
import { expect } from "vitest";

/** Largest difference in units of the largest expected magnitude. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let largest = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    expect(Number.isFinite(actual[i])).toBe(true);
    largest = Math.max(largest, Math.abs((actual[i] as number) - (expected[i] as number)));
    scale = Math.max(scale, Math.abs(expected[i] as number));
  }
  return largest / scale;
}

/** The parameters that a reference starts with: the same names, shapes and numbers; zeros are zeros. */
export function expectSameStart(
  actual: ReadonlyMap<string, HostTensor>,
  expected: ReadonlyMap<string, HostTensor>,
  tolerance = 1e-6,
): void {
  expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [name, { shape, data }] of expected) {
    const own = actual.get(name) as HostTensor;
    expect(own.shape, name).toEqual(shape);
    const isZero = data.every((value: number) => value === 0);
    if (isZero)
      expect(
        own.data.every((value: number) => value === 0),
        name,
      ).toBe(true);
    else expect(relativeDifference(own.data, data), name).toBeLessThan(tolerance);
  }
}
