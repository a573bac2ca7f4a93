import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { failure, file, fixtures, readAll, temporary } from "../../test/safetensors.ts";
import { createGenerator, PeftError, SafetensorsFile } from "../index.ts";

describe("a lying header", () => {
  const f32 = (begin: unknown, end: unknown, shape: unknown = [2]): object => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });
  const data = new Uint8Array(16);

  it.each<[string, object | string]>([
    ["offsets outside the file", { a: f32(0, 8), b: f32(8, 24, [4]) }],
    ["overlapping tensors", { a: f32(0, 8), b: f32(4, 16, [3]) }],
    ["a hole", { a: f32(0, 8), b: f32(12, 16, [1]) }],
    ["bytes left over", { a: f32(0, 8) }],
    ["negative offsets", { a: f32(-8, 8, [4]) }],
    ["offsets in the wrong order", { a: f32(16, 0, [4]) }],
    ["offsets that are no integers", { a: f32(0, 15.5, [4]) }],
    ["three offsets", { a: { dtype: "F32", shape: [4], data_offsets: [0, 8, 16] } }],
    ["a negative shape", { a: f32(0, 16, [-4]) }],
    ["two negative dimensions", { a: f32(0, 16, [-2, -2]) }],
    ["a fractional shape", { a: f32(0, 16, [4.5]) }],
    ["a shape of strings", { a: f32(0, 16, ["4"]) }],
    ["no shape", { a: { dtype: "F32", data_offsets: [0, 16] } }],
    ["a shape that is too large", { a: f32(0, 16, [1e9, 1e9]) }],
    ["an overflow behind a zero", { a: f32(0, 0, [0, 9e15, 9e15]), b: f32(0, 16, [4]) }],
    ["a shape beyond the safe integers", { a: f32(0, 16, [2 ** 60]) }],
    ["a shape that wraps around 2^64", { a: f32(0, 16, [2 ** 32, 2 ** 32, 4]) }],
    ["too few bytes", { a: f32(0, 16, [5]) }],
    ["an unknown dtype", { a: { dtype: "F99", shape: [4], data_offsets: [0, 16] } }],
    ["a dtype of the prototype", { a: { dtype: "toString", shape: [4], data_offsets: [0, 16] } }],
    ["a tensor that is no object", { a: [0, 16] }],
    ["a tensor that is null", { a: null }],
    ["metadata that is no map of strings", { __metadata__: { format: 1 }, a: f32(0, 16, [4]) }],
    ["an array", "[1]"],
    ["no JSON", '{"a":'],
    ["an empty header", ""],
    ["a name given twice", `{"a":${JSON.stringify(f32(0, 16, [4]))},"a":${JSON.stringify(f32(0, 16, [4]))}}`],
    [
      "a name given twice in other letters",
      `{"a":${JSON.stringify(f32(0, 16, [4]))},"\\u0061":${JSON.stringify(f32(0, 16, [4]))}}`,
    ],
    ["a field given twice", `{"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}`],
  ])("is refused: %s", async (_, header) => {
    expect(await failure(file(header, data))).toMatchObject({ code: "SAFETENSORS_INVALID" });
  });

  it("is refused: a length beyond the file, at once", async () => {
    for (const claimed of [1000n, 99_999_999n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(await failure(file("{}", data, claimed))).toMatchObject({ code: "SAFETENSORS_INVALID" });
    }
  });

  it("is refused: bytes that are not UTF-8, and files of under 8 bytes", async () => {
    const path = file("{}");
    writeFileSync(path, Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d]));
    expect(await failure(path)).toMatchObject({ code: "SAFETENSORS_INVALID" });
    writeFileSync(path, Buffer.alloc(5));
    expect(await failure(path)).toMatchObject({ code: "SAFETENSORS_INVALID" });
  });

  it("may hold __proto__ as a name, and zero-size and scalar tensors", async () => {
    const path = file(
      `{"__proto__":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`,
      new Uint8Array(4),
    );
    const tensors = await readAll(await SafetensorsFile.open(path));
    expect(tensors.get("__proto__")?.shape).toEqual([0, 3]);
    expect(tensors.get("s")?.data).toHaveLength(1);
  });
});

describe("500 random mutations of a valid file", () => {
  const original = readFileSync(join(fixtures, "more.safetensors"));
  const headerLength = Number(original.readBigUInt64LE(0));
  const generator = createGenerator(20240);
  const below = (n: number): number => generator.next32() % n;

  /** Flips bytes anywhere, truncates, appends, changes the header's length, or edits a number or letter of the header. */
  function mutate(kind: number): Buffer {
    const bytes = Buffer.from(original);
    if (kind === 0) for (let i = 0; i <= below(4); i++) bytes[below(bytes.length)] = below(256);
    if (kind === 1) return bytes.subarray(0, below(bytes.length));
    if (kind === 2) return Buffer.concat([bytes, Buffer.alloc(1 + below(40), below(256))]);
    if (kind === 3) bytes[below(8)] = below(256);
    if (kind === 4) bytes[8 + below(headerLength)] = 32 + below(95);
    if (kind === 5) {
      const text = bytes.subarray(8, 8 + headerLength).toString();
      const digits = [...text.matchAll(/\d+/gu)];
      const target = digits[below(digits.length)] as RegExpExecArray;
      const number = ["-1", "9007199254740993", "1e400", "0.5", String(below(2 ** 31)), "null"][below(6)] as string;
      const header = Buffer.from(text.slice(0, target.index) + number + text.slice(target.index + target[0].length));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(header.byteLength));
      return Buffer.concat([length, header, bytes.subarray(8 + headerLength)]);
    }
    return bytes;
  }

  it("read as a valid file or throw a PeftError", async () => {
    const path = join(temporary, "mutated.safetensors");
    const outcomes = { read: 0, refused: 0 };
    for (let i = 0; i < 500; i++) {
      const bytes = mutate(i % 6);
      writeFileSync(path, bytes);
      try {
        const tensors = await readAll(await SafetensorsFile.open(path));
        outcomes.read++;
        const held = [...tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
        expect(held).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        if (!(error instanceof PeftError)) throw error;
        expect(error.message).toContain(path);
        outcomes.refused++;
      }
    }
    expect(outcomes.read).toBeGreaterThan(5);
    expect(outcomes.refused).toBeGreaterThan(250);
  });
});
