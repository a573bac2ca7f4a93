import { installMatchers, tol } from "@peftjs/testkit";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fixtures, publicAdapters, publicNames, readAll, temporary } from "../../test/safetensors.ts";
import {
  float32,
  int32,
  quantize,
  SafetensorsFile,
  widen,
  writeSafetensors,
  type HostTensor,
  type StoredTensor,
} from "../index.ts";

installMatchers();

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

  it("keeps factors of the inputs with eight bits", async () => {
    const path = join(temporary, "smoothed.safetensors");
    const held = quantize(float32([1, -2, 0.5, 0, 0, 0.25], [2, 3]), {
      axis: 0,
      inputScales: new Float32Array([1, 2, 3]),
    });
    await writeSafetensors(path, new Map([["w", held]]), { keepInt8: true });
    const file = await SafetensorsFile.open(path);
    expect(file.names).toEqual(["w.input_scales", "w.scales", "w"]);
    expect(await file.int8("w", { axis: 0 })).toEqual(held);
    await file.close();
  });

  it("keeps eight bits on request, and writes them as float32 otherwise", async () => {
    const path = join(temporary, "int8.safetensors");
    const held = quantize(float32([1, -2, 0.5, 0, 0, 0.25], [2, 3]), { axis: 1, backward: "float32" });
    const tensors = new Map<string, StoredTensor>([
      ["w", held],
      ["b", float32([1], [1])],
    ]);
    await writeSafetensors(path, tensors, { keepInt8: true });
    const file = await SafetensorsFile.open(path);
    expect(file.names).toEqual(["b", "w.scales", "w"]);
    expect(file.info("w").dtype).toBe("I8");
    expect(await file.int8("w", held)).toEqual(held);
    // As every other reader sees it: whole numbers.
    expect(await file.tensor("w")).toEqual(int32([...held.data], [2, 3]));
    await expect(file.int8("w", { axis: 0 })).rejects.toMatchObject({ code: "SAFETENSORS_INVALID" });
    await expect(file.int8("b", held)).rejects.toMatchObject({ code: "SAFETENSORS_INVALID" });
    await expect(file.int8("c", held)).rejects.toMatchObject({ code: "TENSOR_MISSING" });
    await file.close();
    await writeSafetensors(path, tensors);
    expect((await readAll(await SafetensorsFile.open(path))).get("w")).toEqual(widen(held));
  });
});
