import { installMatchers } from "@peftjs/testkit";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { changeConfig, failureOf, fresh, methods, P, rewrite, trained } from "../../test/folders.ts";
import { added, tinyModel } from "../../test/tiny.ts";
import { loadAdapter, MethodRegistry, PeftModel, saveAdapter, zeros, type BaseModel } from "../index.ts";

installMatchers();

describe("loadAdapter refuses, and leaves the model as it was,", () => {
  async function failure(
    prepare: (dir: string) => unknown,
    base: BaseModel = tinyModel(),
    registry: MethodRegistry = methods,
  ): ReturnType<typeof failureOf> {
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    await prepare(dir);
    const model = new PeftModel(base);
    const error = await failureOf(loadAdapter(model, { dir, methods: registry }));
    expect(model.adapters.size).toBe(0);
    return error;
  }
  const config =
    (changes: object) =>
    (dir: string): void =>
      changeConfig(dir, changes);

  it.each<[string, (dir: string) => unknown, string, RegExp]>([
    [
      "a missing tensor",
      (dir) => rewrite(dir, (t) => t.delete(`${P}body.layer.0.query.added_A.weight`)),
      "ADAPTER_TENSORS",
      /Missing: base_model.model.body.layer.0.query.added_A.weight\./u,
    ],
    [
      "a missing head",
      (dir) => rewrite(dir, (t) => t.delete(`${P}classifier.bias`)),
      "ADAPTER_TENSORS",
      /The saved module "classifier" is not in the file: it was trained with another head, or none\. With strict: false/u,
    ],
    [
      "a tensor too many",
      (dir) => rewrite(dir, (t) => t.set(`${P}body.layer.9.query.added_A.weight`, zeros([2, 4]))),
      "ADAPTER_TENSORS",
      /Unexpected: .*layer\.9/u,
    ],
    [
      "another rank",
      config({ r: 5 }),
      "SHAPE_MISMATCH",
      /has shape \[2, 4\], but this model needs \[5, 4\].*another rank/u,
    ],
    ["no peft_type", config({ peft_type: null }), "ADAPTER_CONFIG_INVALID", /has no peft_type \(found null\)/u],
    [
      "an unknown peft_type",
      config({ peft_type: "ADED" }),
      "METHOD_UNKNOWN",
      /Did you mean "ADDED"\? Registered types: ADDED/u,
    ],
    ["a value out of range", config({ r: "many" }), "CONFIG_INVALID", /rank/u],
    [
      "targets that this model lacks",
      config({ target_modules: ["q_proj"], base_model_name_or_path: "big" }),
      "TARGET_NOT_FOUND",
      /No layer matches \["q_proj"\].*written for the base model "big"; this one is "tiny" \(tiny\)\./u,
    ],
    [
      "a module to save that this model lacks",
      config({ modules_to_save: ["qa_outputs"], base_model_name_or_path: null }),
      "MODULE_UNKNOWN",
      /"qa_outputs".*does not name its base model; this one is "tiny"/u,
    ],
    [
      "a file whose layers are all others, as one of another base model",
      async (dir) => {
        config({ base_model_name_or_path: "other" })(dir);
        await rewrite(dir, (t) => new Map([...t].map(([name, value]) => [name.replace("body.layer", "h"), value])));
      },
      "ADAPTER_TENSORS",
      /Missing: .*, and 1 more\. Unexpected: .*base model "other"; this one is "tiny"/u,
    ],
    ["broken JSON", (dir) => writeFileSync(join(dir, "adapter_config.json"), "{"), "JSON_INVALID", /not valid JSON/u],
    [
      "a list for a config",
      (dir) => writeFileSync(join(dir, "adapter_config.json"), "[]"),
      "JSON_INVALID",
      /found an array/u,
    ],
    [
      "a truncated tensor file",
      (dir) => writeFileSync(join(dir, "adapter_model.safetensors"), "abc"),
      "SAFETENSORS_INVALID",
      /it has 3 bytes/u,
    ],
  ])("%s", async (_, prepare, code, message) => {
    const error = await failure(prepare);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it("another number of labels", async () => {
    const base = tinyModel();
    base.parameters.set("classifier.bias", zeros([3]));
    expect((await failure(() => undefined, base)).message).toMatch(
      /"base_model.model.classifier.bias".*has shape \[2\], but this model needs \[3\].*number of labels/u,
    );
  });

  it("layers of other sizes, saying whose the file is", async () => {
    const wide = zeros([2, 6]);
    const error = await failure((dir) => rewrite(dir, (t) => t.set(`${P}body.layer.0.query.added_A.weight`, wide)));
    expect(error.code).toBe("SHAPE_MISMATCH");
    expect(error.message).toMatch(
      /has shape \[2, 6\], but this model needs \[2, 4\]\. The layers of the base model have other sizes\. .*"tiny"/u,
    );
  });

  it("keys that change what the adapter computes, but not when they say nothing", async () => {
    const wire = { ...added.wire, unsupported: ["doubled", "layer_copies"] };
    const registry = new MethodRegistry().use({ ...added, wire });
    const error = await failure(config({ doubled: false, layer_copies: [[0, 2]] }), tinyModel(), registry);
    expect(error.code).toBe("ADAPTER_CONFIG_UNSUPPORTED");
    expect(error.message).toMatch(/sets "layer_copies" to \[\[0,2\]\].*method "added" does not offer it/u);
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    changeConfig(dir, { doubled: false, layer_copies: [] });
    await loadAdapter(new PeftModel(tinyModel()), { dir, methods: registry });
  });

  it("a folder without an adapter, and a file config that its methods do not accept", async () => {
    await expect(loadAdapter(new PeftModel(tinyModel()), { dir: fresh(), methods })).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
    const picky = new MethodRegistry().use({
      ...added,
      wire: { ...added.wire, accepts: (json: object) => !("twist" in json) },
    });
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    config({ twist: 1 })(dir);
    await expect(loadAdapter(new PeftModel(tinyModel()), { dir, methods: picky })).rejects.toThrow(
      /peft_type "ADDED" \(added\) do not support/u,
    );
  });
});
