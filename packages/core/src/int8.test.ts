import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import {
  createGenerator,
  float32,
  inputScales,
  int32,
  isInt8,
  narrow,
  quantize,
  SafetensorsFile,
  storedLike,
  widen,
  writeSafetensors,
  type HostTensor,
  type Int8Tensor,
} from "./index.ts";

const folder = await mkdtemp(join(tmpdir(), "int8-"));
afterAll(() => rm(folder, { recursive: true }));

/** Normal numbers whose size differs from row to row and from column to column. */
function random(rows: number, columns: number, seed = 1): HostTensor {
  const values = createGenerator(seed).normal(rows * columns);
  return float32(
    Float32Array.from(values, (value, i) => value * 4 ** ((Math.floor(i / columns) % 5) - ((i % columns) % 3))),
    [rows, columns],
  );
}

const channelOf = ({ axis, shape }: Int8Tensor, i: number): number =>
  axis === 0 ? Math.floor(i / shape[1]!) : i % shape[1]!;

describe.each([0, 1] as const)("quantize along axis %s", (axis) => {
  it.each([
    [1, 1],
    [1, 9],
    [9, 1],
    [7, 5],
    [16, 33],
  ])("is off by half a scale at most, and uses the whole range of every channel: [%i, %i]", (rows, columns) => {
    const tensor = random(rows, columns);
    const stored = quantize(tensor, { axis });
    expect([stored.dtype, stored.shape, stored.axis, stored.backward]).toEqual(["int8", tensor.shape, axis, "int8"]);
    expect(stored.scales).toHaveLength(axis === 0 ? rows : columns);
    const [wide, largest] = [widen(stored).data, new Array<number>(stored.scales.length).fill(0)];
    tensor.data.forEach((value, i) => {
      const channel = channelOf(stored, i);
      // Scales, and values made with them, are rounded to float32.
      expect(Math.abs(wide[i]! - value)).toBeLessThanOrEqual((stored.scales[channel]! / 2) * (1 + 1e-4));
      largest[channel] = Math.max(largest[channel]!, Math.abs(stored.data[i]!));
    });
    expect(largest.every((size) => size === 127)).toBe(true);
  });

  it("finds its own values again", () => {
    for (let seed = 0; seed < 20; seed++) {
      const stored = quantize(random(16, 12, seed), { axis, backward: "float32" });
      const again = quantize(widen(stored), stored);
      expect({ ...again, scales: null }).toEqual({ ...stored, scales: null });
      // 127·s is rounded to float32, so that a 127th of it may be the number next to s.
      again.scales.forEach((scale, i) => expect(Math.abs(scale / stored.scales[i]! - 1)).toBeLessThan(2 ** -23));
    }
  });

  it("keeps zeros, channels of nothing else among them", () => {
    const values = axis === 0 ? [0, 0, 0, 1, 0, -2] : [0, 1, 0, 0, 0, -2];
    const tensor = float32(values, axis === 0 ? [2, 3] : [3, 2]);
    const stored = quantize(tensor, { axis });
    expect(stored.scales[0]).toBe(0);
    expect([...widen(stored).data].filter((_, i) => channelOf(stored, i) === 0)).toEqual([0, 0, 0]);
    expect([...stored.data].filter((_, i) => channelOf(stored, i) === 1)).toEqual([64, 0, -127]);
  });
});

describe("quantize", () => {
  it("has one factor for each output channel, whichever axis that is", () => {
    const matrix = float32([1, -2, 0.5, 0, 0, 0, 254, 127, -3], [3, 3]);
    const rows = quantize(matrix, { axis: 0 });
    expect([...rows.data]).toEqual([64, -127, 32, 0, 0, 0, 127, 64, -2]);
    expect([...rows.scales]).toEqual([Math.fround(2 / 127), 0, 2]);
    const columns = quantize(matrix, { axis: 1 });
    expect([...columns.data]).toEqual([0, -2, 21, 0, 0, 0, 127, 127, -127]);
    expect([...columns.scales]).toEqual([2, 1, Math.fround(3 / 127)]);
  });

  it("rounds ties to even, so that −W is quantized as W is", () => {
    const { data } = quantize(float32([127, 0.5, 1.5, 2.5, -0.5, -1.5], [1, 6]), { axis: 0 });
    expect([...data]).toEqual([127, 0, 2, 2, 0, -2]);
    const tensor = random(16, 16);
    const negated = quantize({ ...tensor, data: (tensor.data as Float32Array).map((value) => -value) }, { axis: 0 });
    expect([...negated.data].map((value) => 0 - value)).toEqual([...quantize(tensor, { axis: 0 }).data]);
  });

  it.each([Number.NaN, Infinity, -Infinity])("refuses %s wherever it stands", (bad) => {
    for (const i of [0, 3, 5]) {
      const tensor = float32(
        Float32Array.from({ length: 6 }, (_, j) => (i === j ? bad : j)),
        [2, 3],
      );
      for (const axis of [0, 1] as const) {
        expect(() => quantize(tensor, { axis })).toThrow(
          expect.objectContaining({
            code: "NOT_FINITE",
            message: expect.stringMatching(/exclude its layer/u) as string,
          }),
        );
      }
    }
  });

  it.each([[[4]], [[1, 2, 2]], [[]]])("refuses the shape %j", (shape) => {
    const tensor = float32(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
    expect(() => quantize(tensor, { axis: 0 })).toThrow(
      expect.objectContaining({
        code: "SHAPE_MISMATCH",
        message: expect.stringContaining(`[${shape.join(", ")}]`) as string,
      }),
    );
  });

  it("leaves what it is given as it is", () => {
    const tensor = random(3, 4);
    const before = tensor.data.slice();
    quantize(tensor, { axis: 0 });
    expect(tensor.data).toEqual(before);
  });
});

describe("factors of the inputs", () => {
  const weight = float32([4, 0.25, 0, -1, 0.5, 1, 2, -0.125, 3, 0, 0, -9], [3, 4]);
  const flip = ({ shape: [rows = 0, columns = 0], data }: HostTensor): HostTensor =>
    float32(
      Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)] as number),
      [columns, rows],
    );
  const norm = { weight: Float32Array.of(0, 3, 1, 0), bias: Float32Array.of(1, 4, 0, 0) };

  it("are (max|W| / √(γ² + β²))^½ of every input, and 1 where there is nothing to divide", () => {
    // Largest weights 4, 1, 2 and 9; sizes 1, 5, 1 and 0.
    const expected = Float32Array.of(2, Math.sqrt(0.2), Math.SQRT2, 1);
    expect(inputScales(weight, { axis: 0, norm })).toEqual(expected);
    expect(inputScales(flip(weight), { axis: 1, norm })).toEqual(expected);
    expect(inputScales(weight, { axis: 0, norm: { ...norm, bias: null } })[0]).toBe(1);
    const empty = float32(new Float32Array(4), [1, 4]);
    expect(inputScales(empty, { axis: 0, norm })).toEqual(new Float32Array(4).fill(1));
  });

  it.each([0, 1] as const)("are divided out before rounding, and multiplied in again: axis %s", (axis) => {
    const t = Float32Array.of(2, 0.5, 1, 8);
    const wide = axis === 0 ? weight : flip(weight);
    const stored = quantize(wide, { axis, inputScales: t });
    // W/t is [2, 0.5, 0, −0.125], [0.25, 2, 2, −0.015625], [1.5, 0, 0, −1.125].
    expect(Array.from(stored.scales, (s) => s * 127)).toEqual([2, 2, 1.5].map((s) => expect.closeTo(s, 6) as number));
    const data = [127, 32, 0, -8, 16, 127, 127, -1, 127, 0, 0, -95];
    const held = axis === 0 ? stored.data : flip(float32(Float32Array.from(stored.data), [4, 3])).data;
    expect(Array.from(held)).toEqual(data);
    const [values, exact] = [widen(stored).data, wide.data];
    values.forEach((value, i) => {
      const [output, input] = axis === 0 ? [Math.floor(i / 4), i % 4] : [i % 3, Math.floor(i / 3)];
      const step = (stored.scales[output] as number) * (t[input] as number);
      expect(Math.abs(value - (exact[i] as number))).toBeLessThanOrEqual(step * 0.5001);
    });
    const again = quantize(widen(stored), stored);
    expect(again.data).toEqual(stored.data);
    expect(again.inputScales).toBe(t);
  });
});

describe("storedLike", () => {
  const tensor = random(3, 4);
  const stored = quantize(tensor, { axis: 1, backward: "float32" });

  it("quantizes as the other one is, and narrows, and widens", () => {
    expect(storedLike(tensor, quantize(random(3, 4, 2), stored))).toEqual(stored);
    expect(storedLike(tensor, narrow(tensor, "bfloat16"))).toEqual(narrow(tensor, "bfloat16"));
    expect(storedLike(stored, tensor)).toEqual(widen(stored));
    expect(storedLike(stored, narrow(tensor, "float16"))).toEqual(narrow(widen(stored), "float16"));
    const other = storedLike(stored, quantize(tensor, { axis: 0 }));
    expect(isInt8(other) && other.axis).toBe(0);
  });

  it("does not copy what is stored so", () => {
    expect(storedLike(tensor, random(3, 4, 2))).toBe(tensor);
    expect(storedLike(stored, quantize(tensor, { axis: 1 }))).toBe(stored);
  });
});

it("other types are none in eight bits", () => {
  expect([float32([1], [1]), int32([1], [1]), narrow(float32([1], [1]), "float16")].some(isInt8)).toBe(false);
  expect(isInt8(quantize(random(2, 2), { axis: 0 }))).toBe(true);
});

it.each([0, 1] as const)("a file holds the values that a tensor along axis %s stands for", async (axis) => {
  const stored = quantize(random(5, 3), { axis });
  for (const [dtype, expected] of [
    [undefined, widen(stored)],
    ["F32", widen(stored)],
    ["BF16", widen(narrow(stored, "bfloat16"))],
  ] as const) {
    const path = join(folder, `${axis}-${dtype ?? "own"}`);
    await writeSafetensors(path, new Map([["x", stored]]), dtype === undefined ? {} : { dtype });
    const file = await SafetensorsFile.open(path);
    expect(file.info("x").dtype).toBe(dtype ?? "F32");
    expect(await file.tensor("x")).toEqual(expected);
    await file.close();
  }
});
