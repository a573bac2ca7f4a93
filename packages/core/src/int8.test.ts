import { describe, expect, it } from "vitest";
import { float32, isInt8, quantize, storedLike, widen, type Int8Tensor } from "./index.ts";

const matrix = float32([1, -2, 0.5, 0, 0, 0, 254, 127, -3], [3, 3]);

describe("quantize", () => {
  it("has one factor for each output channel, whichever axis that is", () => {
    const rows = quantize(matrix, { axis: 0 });
    expect(rows).toMatchObject({ dtype: "int8", shape: [3, 3], axis: 0, backward: "int8" });
    expect([...rows.data]).toEqual([64, -127, 32, 0, 0, 0, 127, 64, -2]);
    expect([...rows.scales]).toEqual([Math.fround(2 / 127), 0, 2]);
    const columns = quantize(matrix, { axis: 1, backward: "float32" });
    expect([...columns.data]).toEqual([0, -2, 21, 0, 0, 0, 127, 127, -127]);
    expect([...columns.scales]).toEqual([2, 1, Math.fround(3 / 127)]);
    expect(columns).toMatchObject({ axis: 1, backward: "float32" });
  });

  it("errs by half a factor at most, and gives −W where W is negated", () => {
    const values = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * i) * (1 + (i % 7)));
    for (const axis of [0, 1] as const) {
      const wide = float32(values, [64, 64]);
      const held = quantize(wide, { axis });
      widen(held).data.forEach((value, i) => {
        const s = held.scales[axis === 0 ? Math.floor(i / 64) : i % 64] as number;
        expect(Math.abs(value - (values[i] as number))).toBeLessThanOrEqual((s / 2) * (1 + 1e-5));
      });
      const negated = quantize(
        float32(
          values.map((value) => -value),
          [64, 64],
        ),
        { axis },
      );
      expect([...negated.data].map((value) => 0 - value)).toEqual([...held.data]);
    }
  });

  it("rounds ties to even", () => {
    const { data } = quantize(float32([127, 0.5, 1.5, 2.5, -0.5, -1.5], [1, 6]), { axis: 0 });
    expect([...data]).toEqual([127, 0, 2, 2, 0, -2]);
  });

  it("is its own inverse on values that it gave", () => {
    const held = quantize(matrix, { axis: 0 });
    const again = storedLike(widen(held), held);
    expect(isInt8(again)).toBe(true);
    expect((again as Int8Tensor).data).toEqual(held.data);
  });

  it.each([
    [NaN, 5],
    [5, NaN],
    [Infinity, 5],
    [-Infinity, 5],
  ])("refuses %d beside %d", (first, second) => {
    for (const axis of [0, 1] as const)
      expect(() => quantize(float32([first, second, second, 1], [2, 2]), { axis })).toThrow(
        expect.objectContaining({ code: "NOT_FINITE" }) as Error,
      );
  });

  it("refuses what is no matrix", () => {
    expect(() => quantize(float32([1], [1]), { axis: 0 })).toThrow(
      expect.objectContaining({ code: "SHAPE_MISMATCH" }) as Error,
    );
  });
});
