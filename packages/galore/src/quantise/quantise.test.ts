import { createGenerator, float32 } from "@peftjs/core";
import type { HostTensor } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import { compiledEngine, eagerEngine, installMatchers } from "@peftjs/testkit";
import type * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { codesOf, dequantizeBasis, quantizeBasis } from "./basis4.ts";
import { dequantize8, dynamicLevels, quantize8 } from "./dynamic8.ts";

installMatchers();

const exact = { absolute: 0, relative: 1e-6 };
const engines = [
  ["eager", () => createEngine(eagerEngine)],
  ["compiled", () => createEngine(compiledEngine)],
] as const;

describe("the dynamic code of 8 bits", () => {
  it("has 256 ascending levels", () => {
    const [signed, unsigned] = [dynamicLevels(true), dynamicLevels(false)];
    for (const levels of [signed, unsigned]) {
      expect(levels).toHaveLength(256);
      expect(levels.every((level, i) => i === 0 || level > (levels[i - 1] as number))).toBe(true);
    }
    expect(signed.slice(126, 129)).toBeAllClose([-5.5e-7, 0, 5.5e-7], exact);
    expect(signed.slice(254)).toBeAllClose([0.99296875, 1], exact);
    expect(unsigned.slice(0, 2)).toBeAllClose([0, 3.25e-7], exact);
    expect(unsigned.slice(254)).toBeAllClose([0.996484375, 1], exact);
  });

  it.each(engines)("gives the nearest level, %s", async (_, engine) => {
    const runner = await engine();
    for (const signed of [true, false]) {
      const levels = dynamicLevels(signed);
      const generator = createGenerator(5);
      const size = 4 * 256 + 44;
      const exponents = generator.uniform(size, -8, 0);
      const signs = generator.uniform(size, -1, 1);
      const values = exponents.map((e, i) => (signed && (signs[i] as number) < 0 ? -1 : 1) * 10 ** e);
      // A block of zeros, a block scaled by 3, and its largest number negative.
      values.fill(0, 256, 512);
      for (let i = 512; i < 768; i++) values[i] = 3 * (values[i] as number);
      values[600] = signed ? -4 : 4;
      const shape: [number, number] = [size / 4, 4];
      const program = runner.compile(({ x }) => {
        const quantized = quantize8(x?.["x"] as tf.Tensor2D, { signed });
        return { y: { ...quantized, back: dequantize8(quantized, { shape, signed }) } };
      });
      const { y } = await program.run({ x: { x: float32(values, shape) } });
      const { codes, scales, back } = y as Record<"codes" | "scales" | "back", HostTensor>;
      expect(codes.shape).toEqual([5, 64]);
      const bytes = new Uint8Array((codes.data as Int32Array).buffer, codes.data.byteOffset, codes.data.byteLength);
      values.forEach((value, i) => {
        const scale = scales.data[i >> 8] as number;
        const distance = (code: number) => Math.abs((levels[code] as number) * scale - value);
        const least = levels.reduce((best, _level, code) => Math.min(best, distance(code)), Infinity);
        // Nothing to choose between two levels at the same distance up to rounding.
        expect(distance(bytes[i] as number)).toBeLessThanOrEqual(least + 1e-6 * Math.abs(value));
        expect(back.data[i]).toBeCloseTo((levels[bytes[i] as number] as number) * scale, 6);
      });
      await program.dispose();
    }
  });
});

describe("a basis in four bits", () => {
  it("has the published codes", () => {
    const { scale, zero, codes } = codesOf(Float32Array.of(-0.5, -0.1, 0, 0.2, 1));
    expect(scale).toBeCloseTo(0.1, 7);
    expect(zero).toBe(5);
    expect(Array.from(codes)).toEqual([0, 4, 5, 7, 15]);
  });

  it.each(engines)("is read back within half a step, %s", async (_, engine) => {
    const shape: [number, number] = [3, 200];
    const basis = float32(createGenerator(2).normal(600), shape);
    const runner = await engine();
    const program = runner.compile(({ parts }) => ({ y: { back: dequantizeBasis(parts ?? {}, shape) } }));
    const { y } = await program.run({ parts: quantizeBasis(basis) });
    for (let group = 0; group < 3; group++) {
      const values = (basis.data as Float32Array).subarray(group * 256, (group + 1) * 256);
      const { scale, zero, codes } = codesOf(values);
      const back = y?.["back"]?.data.slice(group * 256, (group + 1) * 256) as Float32Array;
      expect(back).toBeAllClose(
        Float32Array.from(codes, (code) => (code - zero) * scale),
        { absolute: 1e-6, relative: 1e-6 },
      );
      // Rounding of the value and of the zero.
      values.forEach((value, i) => expect(Math.abs(value - (back[i] as number))).toBeLessThanOrEqual(1.001 * scale));
    }
    await program.dispose();
  });
});
