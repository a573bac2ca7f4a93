import { installMatchers, tol } from "@peftjs/testkit";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { failure, file, fixtures, json, readAll, temporary } from "../../test/safetensors.ts";
import {
  createGenerator,
  float32,
  openSafetensors,
  SafetensorsFile,
  writeSafetensors,
  type HostTensor,
} from "../index.ts";

installMatchers();

const values = json<Record<string, { shape: number[]; values: (number | boolean)[] }>>("values.json");

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
