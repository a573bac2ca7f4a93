import { expect } from "vitest";

/** |a − b| ≤ relative·max(|b|) + 1e-7, element by element; NaN and lengths that differ fail. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, relative = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...Array.from(expected, Math.abs));
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] as number) - (expected[i] as number));
    if (!(difference <= relative * scale + 1e-7)) expect.fail(`element ${i}: ${actual[i]} instead of ${expected[i]}`);
  }
}
