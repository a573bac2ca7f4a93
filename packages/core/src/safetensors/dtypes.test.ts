import { describe, expect, it } from "vitest";
import { fromBfloat16, json } from "../../test/safetensors.ts";
import { fromFloat16, toBfloat16, toFloat16 } from "./dtypes.ts";

describe("half precision", () => {
  const {
    float32: bits,
    float16,
    bfloat16,
    float16Checksum,
  } = json<Record<"float32" | "float16" | "bfloat16", number[]> & { float16Checksum: number }>("halves.json");
  const singles = [...new Float32Array(Int32Array.from(bits).buffer)];

  it("rounds as torch does", () => {
    expect(singles.map(toFloat16)).toEqual(float16);
    expect(singles.map(toBfloat16)).toEqual(bfloat16);
  });

  it("widens every finite half exactly", () => {
    const finite = Array.from({ length: 65536 }, (_, half) => fromFloat16(half)).filter(Number.isFinite);
    expect(finite.reduce((sum, value) => sum + Math.abs(value), 0)).toBe(float16Checksum);
    for (let half = 0; half < 65536; half++) {
      if (!Number.isNaN(fromFloat16(half))) expect(toFloat16(fromFloat16(half))).toBe(half);
      if (!Number.isNaN(fromBfloat16(half))) expect(toBfloat16(fromBfloat16(half))).toBe(half);
    }
    for (const back of [fromFloat16(toFloat16(NaN)), fromBfloat16(toBfloat16(NaN))]) expect(back).toBeNaN();
  });
});
