import { describe, expect, it } from "vitest";
import { gradientShare } from "./gradientShare.ts";

const places = Int32Array.of(1, 2, 3);

describe("gradientShare", () => {
  it.each([
    [[1, -2, 3, 0.5, 1, 1], 90.2986],
    [[0, -1, -1, 0.5, 2, 0], 60],
    [[0, 0, 0, 0, 0, 0], 0],
  ])("of %j is %f", (gradient, share) => {
    expect(gradientShare(Float32Array.from(gradient), places)).toBeCloseTo(share, 4);
  });
});
