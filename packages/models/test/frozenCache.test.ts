import { copyFile, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SafetensorsFile } from "@peftjs/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fromConfig, fromPretrained, savePretrained, type FrozenOptions, type PretrainedModel } from "../src/index.ts";
import { tinyConfig } from "./support/tinyConfig.ts";

const config = { ...tinyConfig, num_hidden_layers: 1 };

let dir: string;
let cache: string;
const load = (options: Partial<FrozenOptions> = {}): Promise<PretrainedModel> =>
  fromPretrained(dir, { frozen: { type: "int8", cache, ...options } });
const cached = async (): Promise<string[]> => (await readdir(cache)).map((name) => join(cache, name));
const only = async (): Promise<string> => {
  const files = await cached();
  expect(files).toHaveLength(1);
  return files[0] as string;
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "cached-"));
  cache = join(dir, "not", "yet", "there");
  await savePretrained(fromConfig(config, { head: "none", seed: 5 }), dir);
});
afterEach(() => rm(dir, { recursive: true }));

it("is made once, and gives the weights that the file gives", async () => {
  const plain = await fromPretrained(dir, { frozen: "int8" });
  const first = await load();
  const { mtimeNs } = await stat(await only(), { bigint: true });
  const again = await load();
  expect([plain, first, again].map(({ report }) => report.cache)).toEqual([null, "written", "read"]);
  for (const model of [first, again]) expect(model.parameters).toEqual(plain.parameters);
  expect((await stat(await only(), { bigint: true })).mtimeNs).toBe(mtimeNs);
});

it("is a file that others can read: I8 under the names of the weights, and their factors", async () => {
  const { parameters } = await load();
  const file = await SafetensorsFile.open(await only());
  const name = "encoder.layer.0.output.dense.weight";
  expect(file.info(name)).toMatchObject({ dtype: "I8", shape: [8, 16] });
  expect(file.info(`${name}.scales`)).toMatchObject({ dtype: "F32", shape: [8] });
  // Four of the seven layers read a normalisation, and have factors of their inputs, too.
  expect(file.names).toHaveLength(2 * 7 + 4);
  expect(file.info("encoder.layer.0.intermediate.dense.weight.input_scales")).toMatchObject({ shape: [8] });
  expect((await file.tensor(name)).data).toEqual(Int32Array.from(parameters.get(name)?.data ?? []));
  await file.close();
});

it("takes the rest from the source, and how gradients are multiplied from the options", async () => {
  await load();
  const { parameters, report } = await load({ backward: "float32", embeddings: "bfloat16" });
  expect(report.cache).toBe("read");
  expect(parameters.get("pooler.dense.weight")).toMatchObject({ dtype: "int8", backward: "float32" });
  expect(parameters.get("embeddings.word_embeddings.weight")?.dtype).toBe("bfloat16");
});

it("has a file for each choice of weights", async () => {
  await load();
  expect((await load({ exclude: ["query"] })).report.cache).toBe("written");
  expect((await load({ embeddings: "int8" })).report.cache).toBe("written");
  expect(await cached()).toHaveLength(3);
  for (const options of [{}, { exclude: ["query"] }, { embeddings: "int8" }] as const)
    expect((await load(options)).report.cache).toBe("read");
});

it("has none where nothing is held in eight bits", async () => {
  const model = await load({ exclude: ["encoder", "pooler"] });
  expect(model.report.cache).toBeNull();
  await expect(readdir(cache)).rejects.toThrow();
});

describe("is not trusted, but made again,", () => {
  it("when the source changed, even where its size and time are the old ones", async () => {
    await load();
    const path = join(dir, "model.safetensors");
    const { atime, mtime, size } = await stat(path);
    await savePretrained(fromConfig(config, { head: "none", seed: 6 }), dir);
    await utimes(path, atime, mtime);
    expect((await stat(path)).size).toBe(size);
    const model = await load();
    expect(model.report.cache).toBe("written");
    expect(model.parameters).toEqual((await fromPretrained(dir, { frozen: "int8" })).parameters);
    await only();
  });

  it("when it is another model's", async () => {
    await load();
    const mine = await only();
    const [other, otherCache] = [join(dir, "other"), join(dir, "otherCache")];
    await savePretrained(fromConfig(config, { head: "none", seed: 6 }), other);
    await fromPretrained(other, { frozen: { type: "int8", cache: otherCache } });
    await copyFile(join(otherCache, (await readdir(otherCache))[0] as string), mine);
    const model = await load();
    expect(model.report.cache).toBe("written");
    expect(model.parameters).toEqual((await fromPretrained(dir, { frozen: "int8" })).parameters);
  });

  it.each<[string, (bytes: Buffer) => Uint8Array]>([
    ["cut off", (bytes) => bytes.subarray(0, -1)],
    ["empty", () => Buffer.alloc(0)],
    ["text", () => Buffer.from("not a file of tensors")],
    ["changed in a value", (bytes) => flipped(bytes, bytes.length - 1)],
    ["changed in a factor", (bytes) => flipped(bytes, 8 + Number(bytes.readBigUInt64LE()) + 2)],
  ])("when it is %s", async (_, damage) => {
    const { parameters } = await load();
    const path = await only();
    const whole = await readFile(path);
    await writeFile(path, damage(whole));
    const model = await load();
    expect(model.report.cache).toBe("written");
    expect(model.parameters).toEqual(parameters);
    expect(await readFile(path)).toEqual(whole);
  });
});

it("that cannot be written is an error that names it", async () => {
  await writeFile(join(dir, "not"), "");
  await expect(load()).rejects.toMatchObject({
    code: "FILE_UNWRITABLE",
    message: expect.stringContaining(cache) as string,
  });
});

/** With one bit changed. */
function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] as number) ^ 4;
  return copy;
}
