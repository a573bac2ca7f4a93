import { installMatchers, tol } from "@peftjs/testkit";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { changeConfig, fresh, methods, P, readConfig, readTensors, trained } from "../../test/folders.ts";
import { added, logits, tinyModel } from "../../test/tiny.ts";
import { loadAdapter, MethodRegistry, peft, PeftModel, saveAdapter } from "../index.ts";

installMatchers();

describe("saveAdapter", () => {
  it("writes the Python library's names, keys and files", async () => {
    const dir = fresh();
    expect(await saveAdapter(await trained({ rank: 3 }), { dir })).toBe(dir);
    expect(readdirSync(dir).sort()).toEqual(["README.md", "adapter_config.json", "adapter_model.safetensors"]);
    expect([...(await readTensors(dir)).keys()]).toEqual(
      [0, 1]
        .flatMap((i) => ["A", "B"].map((m) => `${P}body.layer.${i}.query.added_${m}.weight`))
        .concat([`${P}classifier.bias`, `${P}classifier.weight`]),
    );
    const text = readFileSync(join(dir, "adapter_config.json"), "utf8");
    expect(text).toBe(`{
  "added_dropout": 0,
  "added_kind": "plain",
  "auto_mapping": null,
  "base_model_name_or_path": "tiny",
  "exclude_modules": null,
  "inference_mode": true,
  "layers_to_transform": null,
  "modules_to_save": [
    "classifier",
    "score"
  ],
  "peft_type": "ADDED",
  "r": 3,
  "revision": null,
  "target_modules": [
    "query"
  ],
  "task_type": "SEQ_CLS"
}`);
    const card = readFileSync(join(dir, "README.md"), "utf8");
    expect(card).toMatch(/^---\nbase_model: tiny\nlibrary_name: peft\n/u);
  });

  it("writes other names into folders of their own", async () => {
    const dir = fresh();
    expect(await saveAdapter(await trained({}, "mine"), { dir })).toBe(join(dir, "mine"));
    const model = new PeftModel(tinyModel());
    await loadAdapter(model, { dir, methods, adapterName: "mine" });
    expect(model.active).toEqual(["mine"]);
  });

  it.each<[string, object, unknown]>([
    ["roles", { targetRoles: ["query"], layersToTransform: 1 }, ["query"]],
    ["all-linear", { targetModules: "all-linear" }, ["query", "value"]],
    ["a regular expression", { targetModules: ".*1\\.query" }, ".*1\\.query"],
    ["suffixes as given", { targetModules: ["value", "0.query"] }, ["value", "0.query"]],
  ])("names targets explicitly: %s", async (_, config, expected) => {
    const dir = fresh();
    const model = await trained(config);
    await saveAdapter(model, { dir });
    expect(readConfig(dir)["target_modules"]).toEqual(expected);
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });

  it("names layers where the Python library filters blocks of lists alone", async () => {
    const dir = fresh();
    await saveAdapter(
      await trained({ targetModules: ".*(query|value)", layersToTransform: [1], layersPattern: "layer" }),
      {
        dir,
      },
    );
    expect(readConfig(dir)).toMatchObject({ target_modules: ["query", "value"], layers_to_transform: [1] });
  });

  it("shortens long lists of targets", async () => {
    const dir = fresh();
    const names = Array.from({ length: 20 }, (_, i) => `body.layer.${i}.query`);
    await saveAdapter(await trained({ targetModules: names }), { dir });
    expect(readConfig(dir)["target_modules"]).toEqual(["query"]);
  });

  it("writes some keys only when they are set, or were in the file", async () => {
    const [dir, again] = [fresh(), fresh()];
    const method = { ...added, wire: { ...added.wire, whenSet: ["exclude_modules", "added_dropout"] } };
    const save = async (config: object): Promise<Record<string, unknown>> => {
      await saveAdapter(await peft(tinyModel()).use(method, config).apply(), { dir });
      return readConfig(dir);
    };
    expect(await save({ excludeModules: ["value"] })).toMatchObject({ exclude_modules: ["value"] });
    expect(await save({})).not.toHaveProperty("exclude_modules");
    changeConfig(dir, { exclude_modules: null });
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods: new MethodRegistry().use(method) });
    await saveAdapter(loaded, { dir: again });
    expect(readConfig(again)).toEqual(readConfig(dir));
  });

  it("names the task only with its head: readers would look for one", async () => {
    const dir = fresh();
    const model = await trained({ modulesToSave: [] });
    await saveAdapter(model, { dir });
    expect(readConfig(dir)).toMatchObject({
      ...{ task_type: null, modules_to_save: null },
      auto_mapping: { base_model_class: "TinyForSequenceClassification" },
    });
    const loaded = new PeftModel(tinyModel());
    const { adapter } = await loadAdapter(loaded, { dir, methods });
    expect(adapter.modulesToSave).toEqual([]);
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });

  it("keeps what a README already says", async () => {
    const dir = fresh();
    const text = "# Mine\n\nTrained with care.\n";
    const front = "license: mit\nbase_model: other\ntags:\n- mine\nmetrics:\n  - accuracy\n";
    writeFileSync(join(dir, "README.md"), `---\n${front}---\n${text}`);
    await saveAdapter(await trained(), { dir });
    expect(readFileSync(join(dir, "README.md"), "utf8")).toBe(
      `---\nbase_model: tiny\nlibrary_name: peft\npipeline_tag: text-classification\nlicense: mit\ntags:\n- added\n- base_model:adapter:tiny\n- mine\n` +
        `- transformers\nmetrics:\n  - accuracy\n---\n${text}`,
    );
  });

  it("lengthens a suffix that would name other layers as well", async () => {
    const { targetRoles: _unused, ...wireConfig } = { ...added.wire.config, layersToTransform: undefined };
    const method = { ...added, wire: { ...added.wire, config: wireConfig as object } };
    const model = await peft(tinyModel())
      .use(method, { targetRoles: ["query"], layersToTransform: 1 })
      .apply();
    const dir = fresh();
    await saveAdapter(model, { dir });
    expect(readConfig(dir)["target_modules"]).toEqual(["1.query"]);
  });

  it("leaves nothing behind when it fails", async () => {
    const parent = fresh();
    const method = { ...added, wire: { ...added.wire, tensors: { a: "added_A.weight" } } };
    const model = await peft(tinyModel()).use(method).apply();
    await expect(saveAdapter(model, { dir: join(parent, "out") })).rejects.toThrow(
      /has a parameter "b" but wire.tensors does not name it/u,
    );
    writeFileSync(join(parent, "file"), "");
    await expect(saveAdapter(await trained(), { dir: join(parent, "file") })).rejects.toMatchObject({
      code: "FILE_EXISTS",
    });
    expect(readdirSync(parent)).toEqual(["file"]);
  });
});
