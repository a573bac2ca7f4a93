import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter, writeSafetensors } from "@peftjs/core";
import type { HostTensor, LoadReport, Method } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { describeReference, loadReference, readTensors, relativeDifference } from "@peftjs/testkit/conformance";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dora, lora } from "../src/index.ts";
import type { DoraConfig } from "../src/index.ts";

/** Written by fixtures/dora/make.py with the Python libraries. */
const cases = ["roberta", "roberta-embedding"] as const;
const folderOf = (name: string): URL => new URL(`../../../fixtures/dora/${name}`, import.meta.url);

describeReference(dora, { folders: cases.map(folderOf) });

describe("files of DoRA", () => {
  let scratch: string;
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), "peftjs-dora-"));
  });
  afterAll(() => {
    rmSync(scratch, { recursive: true, force: true });
  });

  const erased = dora as unknown as Method;
  const load = (name: string, stage: string): Promise<PeftModel> =>
    loadReference({ folder: fileURLToPath(folderOf(name)) }, { method: erased, stage });
  const tensorFile = (dir: string): string => join(dir, "adapter_model.safetensors");
  const json = (dir: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Record<string, unknown>;

  it.each(cases)("%s: saved again, the tensors and settings are those that Python wrote", async (name) => {
    const dir = join(scratch, name);
    const reference = join(fileURLToPath(folderOf(name)), "final");
    await saveAdapter(await load(name, "final"), { dir });
    const [ours, theirs] = await Promise.all([dir, reference].map((path) => readTensors(tensorFile(path))));
    // With bias: "all" Python also writes copies of the head's biases under names that no reader needs.
    const needed = [...theirs!.keys()].filter((key) => !/\.(original_module|modules_to_save)\./.test(key));
    expect([...ours!.keys()].sort()).toEqual(needed.sort());
    for (const key of needed) expect(ours!.get(key), key).toEqual(theirs!.get(key));
    const [own, written] = [json(dir), json(reference)];
    const targets = (value: Record<string, unknown>): string[] => [...(value["target_modules"] as string[])].sort();
    expect(targets(own)).toEqual(targets(written));
    const { base_model_name_or_path, target_modules } = own;
    expect(own).toEqual({ ...written, base_model_name_or_path, target_modules });
    expect(own).toMatchObject({ peft_type: "LORA", use_dora: true });
  });

  it.each(cases)("%s: the same seed draws the adapter that torch draws, magnitudes included", async (name) => {
    const reference = (await load(name, "fresh")).adapters.get("default")!;
    const model = await peft(await fromPretrained(join(fileURLToPath(folderOf(name)), "base")))
      .use(dora, reference.config as DoraConfig, { seed: 11 })
      .apply();
    for (const [key, { data }] of model.adapters.get("default")!.params) {
      const expected = reference.params.get(key)!.data;
      if (expected.some((value) => value !== 0)) expect(relativeDifference(data, expected), key).toBeLessThan(1e-6);
      else expect(data, key).toEqual(expected);
    }
  });

  /** The fixture's adapter with its magnitudes rewritten. */
  async function loadRewritten(dir: string, rewrite: (key: string, tensor: HostTensor) => [string, HostTensor]) {
    const source = join(fileURLToPath(folderOf("roberta")), "start");
    const tensors = await readTensors(tensorFile(source));
    const model = new PeftModel(await fromPretrained(join(source, "../base")));
    const folder = mkdtempSync(join(scratch, dir));
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(json(source)));
    const rewritten = [...tensors].map(([key, tensor]) =>
      key.endsWith("lora_magnitude_vector") ? rewrite(key, tensor) : ([key, tensor] as const),
    );
    await writeSafetensors(tensorFile(folder), new Map(rewritten), {});
    return (methods: MethodRegistry): Promise<LoadReport> => loadAdapter(model, { dir: folder, methods });
  }

  it("takes magnitudes named as a module's weight, and only as vectors", async () => {
    const methods = new MethodRegistry().use(dora);
    const named = await loadRewritten("named", (key, tensor) => [`${key}.weight`, tensor]);
    const { params } = (await load("roberta", "start")).adapters.get("default")!;
    expect((await named(methods)).adapter.params).toEqual(params);
    const row = await loadRewritten("row", (key, tensor) => [key, { ...tensor, shape: [1, ...tensor.shape] }]);
    await expect(row(methods)).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });

  it("is not taken for LoRA, nor LoRA for it", async () => {
    const same = await loadRewritten("same", (key, tensor) => [key, tensor]);
    await expect(same(new MethodRegistry().use(lora))).rejects.toMatchObject({ code: "METHOD_UNKNOWN" });
    expect((await same(new MethodRegistry().use(lora).use(dora))).adapter.method.name).toBe("dora");
    const plain = fileURLToPath(new URL("../../../fixtures/lora/roberta", import.meta.url));
    await expect(loadReference({ folder: plain }, { method: erased, stage: "start" })).rejects.toMatchObject({
      code: "METHOD_UNKNOWN",
    });
  });
});
