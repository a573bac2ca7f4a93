import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readJson, readJsonObject, readText, writeFileAtomic, writeFolderAtomic } from "./index.ts";

const folder = (): string => mkdtempSync(join(tmpdir(), "peft-files-"));

describe("writeFileAtomic", () => {
  it("replaces a file and creates its folder", async () => {
    const path = join(folder(), "a", "b.txt");
    await writeFileAtomic(path, "one");
    await writeFileAtomic(path, new TextEncoder().encode("two"));
    expect(readFileSync(path, "utf8")).toBe("two");
    expect(readdirSync(join(path, ".."))).toEqual(["b.txt"]);
  });

  it("keeps the old file when writing fails", async () => {
    const dir = folder();
    const path = join(dir, "x");
    await writeFileAtomic(path, "old");
    const failing = writeFileAtomic(path, async (file) => {
      await file.write("half");
      throw new Error("power cut");
    });
    await expect(failing).rejects.toThrow("power cut");
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(dir)).toEqual(["x"]);
  });

  it("says which path cannot be written", async () => {
    const dir = folder();
    writeFileSync(join(dir, "file"), "");
    await expect(writeFileAtomic(join(dir, "file", "x"), "")).rejects.toMatchObject({
      code: "FILE_UNWRITABLE",
      message: expect.stringContaining(join(dir, "file", "x")) as string,
    });
  });
});

describe("writeFolderAtomic", () => {
  it("adds to what is there, folders included, and replaces files of the same name", async () => {
    const dir = join(folder(), "out");
    const fill =
      (text: string, names: readonly string[]) =>
      async (temporary: string): Promise<void> => {
        mkdirSync(join(temporary, "sub"));
        for (const name of names) await writeFile(join(temporary, name), text);
      };
    await writeFolderAtomic(dir, fill("1", ["a", "sub/b"]));
    await writeFolderAtomic(dir, fill("2", ["a", "sub/c"]));
    expect(["a", "sub/b", "sub/c"].map((name) => readFileSync(join(dir, name), "utf8"))).toEqual(["2", "1", "2"]);
    expect(readdirSync(join(dir, ".."))).toEqual(["out"]);
  });

  it("leaves nothing behind when it fails", async () => {
    const parent = folder();
    const failing = writeFolderAtomic(join(parent, "out"), async (temporary) => {
      await writeFile(join(temporary, "half"), "");
      throw new Error("power cut");
    });
    await expect(failing).rejects.toThrow("power cut");
    expect(readdirSync(parent)).toEqual([]);
  });
});

describe("reading", () => {
  it("explains what is wrong with a file", async () => {
    const dir = folder();
    const path = join(dir, "x.json");
    await expect(readText(path)).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
      message: expect.stringContaining(path) as string,
    });
    await expect(readJson(dir)).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
    writeFileSync(path, '{"a":');
    await expect(readJson(path)).rejects.toMatchObject({ code: "JSON_INVALID" });
    writeFileSync(path, "null");
    await expect(readJsonObject(path)).rejects.toThrow(/should hold a JSON object, found null/u);
    writeFileSync(path, '\uFEFF{"a": 1}');
    expect(await readJsonObject(path)).toEqual({ a: 1 });
  });
});
