import { installMatchers, tol } from "@peftjs/testkit";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  createGenerator,
  float32,
  int32,
  openSafetensors,
  PeftError,
  SafetensorsFile,
  writeSafetensors,
  type HostTensor,
  type TensorSource,
} from "./index.ts";
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from "./safetensors/dtypes.ts";

installMatchers();

const fixtures = fileURLToPath(new URL("../../../fixtures/safetensors/", import.meta.url));
const publicAdapters = fileURLToPath(new URL("../../../../shared/data/adapters/", import.meta.url));
const publicNames = existsSync(publicAdapters) ? readdirSync(publicAdapters) : [];
const temporary = mkdtempSync(join(tmpdir(), "peft-safetensors-"));
const json = <T>(name: string): T => JSON.parse(readFileSync(join(fixtures, name), "utf8")) as T;
const values = json<Record<string, { shape: number[]; values: (number | boolean)[] }>>("values.json");

async function readAll(source: TensorSource): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  try {
    for (const name of source.names) tensors.set(name, await source.tensor(name));
    return tensors;
  } finally {
    await source.close();
  }
}

function file(header: object | string, data: Uint8Array = new Uint8Array(0), claimed?: bigint): string {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(text.byteLength));
  const path = join(temporary, "case.safetensors");
  writeFileSync(path, Buffer.concat([length, text, data]));
  return path;
}

async function failure(path: string): Promise<PeftError> {
  const error: unknown = await openSafetensors(path)
    .then(readAll)
    .then(
      () => null,
      (reason: unknown) => reason,
    );
  expect(error).toBeInstanceOf(PeftError);
  return error as PeftError;
}

describe("SafetensorsFile reads the reference implementation's files", () => {
  it.each(["mixed.safetensors", "more.safetensors"])("%s", async (name) => {
    const tensors = await readAll(await SafetensorsFile.open(join(fixtures, name)));
    expect(tensors.size).toBeGreaterThan(3);
    for (const [key, tensor] of tensors) {
      const { shape, values: expected } = values[key] as { shape: number[]; values: number[] };
      expect(tensor, key).toBeAllClose({ shape, data: expected.map(Number) }, key === "9" ? tol.float32 : tol.exact);
    }
    expect(tensors.get(name.startsWith("mixed") ? "z" : "ids")?.dtype).toBe("int32");
  });

  it("names a missing tensor and its near miss", async () => {
    const source = await SafetensorsFile.open(join(fixtures, "mixed.safetensors"));
    expect(() => source.info("a.wieght")).toThrow(/no tensor "a.wieght".*Did you mean "a.weight"/u);
    await expect(source.tensor("none")).rejects.toMatchObject({ code: "TENSOR_MISSING" });
    await source.close();
  });

  it("reads tensors longer than one conversion", async () => {
    const tensor = float32(createGenerator(1).normal(1_200_001), [1_200_001]);
    const path = join(temporary, "long.safetensors");
    await writeSafetensors(path, new Map([["x", tensor]]), { dtype: "BF16" });
    const read = (await readAll(await SafetensorsFile.open(path))).get("x") as HostTensor;
    expect(read).toBeAllClose({ shape: tensor.shape, data: tensor.data }, tol.bfloat16);
  });

  it("refuses 64-bit integers that do not fit, and types that it does not read", async () => {
    const wide = Buffer.alloc(8);
    wide.writeBigInt64LE(2n ** 40n);
    expect(await failure(file({ x: { dtype: "I64", shape: [1], data_offsets: [0, 8] } }, wide))).toMatchObject({
      code: "DTYPE_UNSUPPORTED",
    });
    expect(await failure(file({ x: { dtype: "I16", shape: [4], data_offsets: [0, 8] } }, wide))).toMatchObject({
      code: "DTYPE_UNSUPPORTED",
    });
  });
});

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

describe("writeSafetensors", () => {
  it("writes the reference implementation's bytes", async () => {
    const tensors = await readAll(await SafetensorsFile.open(join(fixtures, "more.safetensors")));
    // Types that it does not write: F64 and U8.
    tensors.delete("9");
    tensors.delete("bytes");
    const path = join(temporary, "written.safetensors");
    await writeSafetensors(path, new Map([...tensors].reverse()));
    const reread = await SafetensorsFile.open(path);
    expect(reread.names).toEqual(["10", "Größe", "empty", "ids", "scalar", "flags"]);
    expect(reread.metadata).toEqual({ format: "pt" });
    expect(reread.info("10").begin % 8).toBe(0);
    await reread.close();
    expect(await readdir(temporary)).not.toContainEqual(expect.stringMatching(/\.tmp$/u));
  });

  it.skipIf(publicNames.length === 0)("rewrites public adapters byte for byte", async () => {
    for (const name of publicNames) {
      const path = join(publicAdapters, name, "adapter_model.safetensors");
      const copy = join(temporary, "copy.safetensors");
      await writeSafetensors(copy, await readAll(await SafetensorsFile.open(path)));
      expect(readFileSync(copy).equals(readFileSync(path)), name).toBe(true);
    }
  });

  it("rounds to half precision on request and leaves integers alone", async () => {
    const path = join(temporary, "half.safetensors");
    await writeSafetensors(
      path,
      new Map([
        ["x", float32([0.1, 1 / 3], [2])],
        ["i", int32([70000], [1])],
      ]),
      { dtype: "F16" },
    );
    const tensors = await readAll(await SafetensorsFile.open(path));
    expect(tensors.get("x")).toBeAllClose([0.0999755859375, 0.333251953125], tol.exact);
    expect(tensors.get("i")).toBeAllClose([70000], tol.exact);
  });

  it("leaves nothing behind when it fails", async () => {
    const broken = new Map([
      [
        "x",
        {
          dtype: "float32",
          shape: [1],
          get data(): Float32Array {
            throw new Error("gone");
          },
        } as HostTensor,
      ],
    ]);
    await expect(writeSafetensors(join(temporary, "broken.safetensors"), broken)).rejects.toThrow("gone");
    expect((await readdir(temporary)).filter((name) => name.includes("broken"))).toEqual([]);
  });
});

describe("shards", () => {
  const index = (map: object): string => {
    const path = join(temporary, "model.safetensors.index.json");
    writeFileSync(path, JSON.stringify({ metadata: { total_size: 8 }, weight_map: map }));
    return path;
  };

  it("are read through their index, also from the folder", async () => {
    await writeSafetensors(join(temporary, "model-1.safetensors"), new Map([["a", float32([1], [1])]]));
    await writeSafetensors(join(temporary, "model-2.safetensors"), new Map([["b", float32([2], [1])]]));
    index({ a: "model-1.safetensors", b: "model-2.safetensors" });
    const tensors = await readAll(await openSafetensors(temporary));
    expect([...tensors].map(([name, { data }]) => [name, data[0]])).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
  });

  it.each([
    ["a path out of the folder", { a: "../model-1.safetensors" }, "JSON_INVALID"],
    ["a number", { a: 3 }, "JSON_INVALID"],
    ["a missing shard", { a: "model-9.safetensors" }, "FILE_NOT_FOUND"],
    ["a tensor that the shard lacks", { zz: "model-1.safetensors" }, "TENSOR_MISSING"],
    ["nothing", {}, "JSON_INVALID"],
  ])("refuse %s", async (_, map, code) => {
    expect(await failure(index(map))).toMatchObject({ code });
  });

  it("are asked for when a folder holds no weights", async () => {
    expect(await failure(mkdtempSync(join(temporary, "empty-")))).toMatchObject({ code: "FILE_NOT_FOUND" });
    expect(await failure(join(temporary, "nowhere"))).toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});

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
