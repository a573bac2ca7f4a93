import { describe, expect, it } from "vitest";
import { installMatchers, tol } from "./index.ts";

installMatchers();

describe("toBeAllClose", () => {
  it("accepts values within absolute + relative·|expected|, and no others", () => {
    expect([1, 100]).toBeAllClose([1.000009, 100.0009]);
    expect([1, 100.01]).not.toBeAllClose([1, 100]);
    expect([1e-7]).toBeAllClose([0]);
    expect([1e-5]).not.toBeAllClose([0]);
    expect([1 + 1e-7]).not.toBeAllClose([1], tol.exact);
  });

  it("holds NaN and infinities close to themselves only", () => {
    expect([NaN, Infinity, -Infinity]).toBeAllClose([NaN, Infinity, -Infinity]);
    for (const [a, b] of [
      [NaN, Infinity],
      [Infinity, -Infinity],
      [NaN, 0],
      [Infinity, 3e38],
      [0, NaN],
    ]) {
      expect([a as number]).not.toBeAllClose([b as number], { absolute: 1e300, relative: 1 });
    }
  });

  it("compares shapes where both sides have one", () => {
    const tensor = { shape: [2, 1], data: Float32Array.of(1, 2) };
    expect(tensor).toBeAllClose([[1], [2]]);
    expect(tensor).not.toBeAllClose([[1, 2]]);
    expect(tensor).toBeAllClose([1, 2]);
    expect(tensor).not.toBeAllClose([1, 2, 3]);
  });

  it("names the worst element", () => {
    expect(() => expect([1, 2, 5]).toBeAllClose([1, 2.1, 3])).toThrow(/value 2 of 3 is 5, expected 3/u);
  });
});
