import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter, writeSafetensors } from "@peftjs/core";
import type { HostTensor, LoadReport, Method } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { scratchFolders } from "@peftjs/testkit";
import {
  describeReference,
  expectSameFiles,
  expectSameStart,
  loadReference,
  readAdapterConfig,
  readAdapterTensors,
} from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { dora, lora } from "../src/index.ts";
import type { DoraConfig } from "../src/index.ts";

/** Written by fixtures/dora/make.py with the Python libraries. */
const cases = ["roberta", "roberta-embedding"] as const;
const folderOf = (name: string): URL => new URL(`../../../fixtures/dora/${name}`, import.meta.url);

describeReference(dora, { folders: cases.map(folderOf) });

describe("files of DoRA", () => {
  const fresh = scratchFolders();
  const erased = dora as unknown as Method;
  const load = (name: string, stage: string): Promise<PeftModel> =>
    loadReference({ folder: fileURLToPath(folderOf(name)) }, { method: erased, stage });

  it.each(cases)("%s: saved again, the tensors and settings are those that Python wrote", async (name) => {
    const dir = await saveAdapter(await load(name, "final"), { dir: fresh() });
    await expectSameFiles(dir, join(fileURLToPath(folderOf(name)), "final"));
    expect(readAdapterConfig(dir)).toMatchObject({ peft_type: "LORA", use_dora: true });
  });

  it.each(cases)("%s: the same seed draws the adapter that torch draws, magnitudes included", async (name) => {
    const reference = (await load(name, "fresh")).adapters.get("default")!;
    const model = await peft(await fromPretrained(join(fileURLToPath(folderOf(name)), "base")))
      .use(dora, reference.config as DoraConfig, { seed: 11 })
      .apply();
    expectSameStart(model.adapters.get("default")!.params, reference.params);
  });

  /** The fixture's adapter with its magnitudes rewritten. */
  async function loadRewritten(rewrite: (key: string, tensor: HostTensor) => [string, HostTensor]) {
    const source = join(fileURLToPath(folderOf("roberta")), "start");
    const tensors = await readAdapterTensors(source);
    const model = new PeftModel(await fromPretrained(join(source, "../base")));
    const dir = fresh();
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(readAdapterConfig(source)));
    const rewritten = [...tensors].map(([key, tensor]) =>
      key.endsWith("lora_magnitude_vector") ? rewrite(key, tensor) : ([key, tensor] as const),
    );
    await writeSafetensors(join(dir, "adapter_model.safetensors"), new Map(rewritten), {});
    return (methods: MethodRegistry): Promise<LoadReport> => loadAdapter(model, { dir, methods });
  }

  it("takes magnitudes named as a module's weight, and only as vectors", async () => {
    const methods = new MethodRegistry().use(dora);
    const named = await loadRewritten((key, tensor) => [`${key}.weight`, tensor]);
    const { params } = (await load("roberta", "start")).adapters.get("default")!;
    expect((await named(methods)).adapter.params).toEqual(params);
    const row = await loadRewritten((key, tensor) => [key, { ...tensor, shape: [1, ...tensor.shape] }]);
    await expect(row(methods)).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });

  it("is not taken for LoRA, nor LoRA for it", async () => {
    const same = await loadRewritten((key, tensor) => [key, tensor]);
    await expect(same(new MethodRegistry().use(lora))).rejects.toMatchObject({ code: "METHOD_UNKNOWN" });
    expect((await same(new MethodRegistry().use(lora).use(dora))).adapter.method.name).toBe("dora");
    const plain = fileURLToPath(new URL("../../../fixtures/lora/roberta", import.meta.url));
    await expect(loadReference({ folder: plain }, { method: erased, stage: "start" })).rejects.toMatchObject({
      code: "METHOD_UNKNOWN",
    });
  });
});
