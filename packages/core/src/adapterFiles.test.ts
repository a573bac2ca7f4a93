import { installMatchers, tol } from "@peftjs/testkit";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { added, fill, logits, tinyModel } from "../test/tiny.ts";
import {
  loadAdapter,
  MethodRegistry,
  peft,
  PeftModel,
  SafetensorsFile,
  saveAdapter,
  writeSafetensors,
  zeros,
  type BaseModel,
  type HostTensor,
} from "./index.ts";

installMatchers();

const methods = new MethodRegistry().use(added);
const fresh = (): string => mkdtempSync(join(tmpdir(), "peft-adapter-"));
const readConfig = (dir: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(dir, "adapter_config.json"), "utf8")) as Record<string, unknown>;

async function trained(
  config: Parameters<ReturnType<typeof peft>["use"]>[1] = {},
  name = "default",
): Promise<PeftModel> {
  const model = await peft(tinyModel()).use(added, config, { name }).apply();
  fill(model, 12);
  return model;
}

async function readTensors(dir: string): Promise<Map<string, HostTensor>> {
  const file = await SafetensorsFile.open(join(dir, "adapter_model.safetensors"));
  const tensors = new Map<string, HostTensor>();
  for (const name of file.names) tensors.set(name, await file.tensor(name));
  await file.close();
  return tensors;
}

async function rewrite(dir: string, change: (tensors: Map<string, HostTensor>) => void): Promise<void> {
  const tensors = await readTensors(dir);
  change(tensors);
  await writeSafetensors(join(dir, "adapter_model.safetensors"), tensors);
}

const P = "base_model.model.";

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

describe("loadAdapter", () => {
  it("restores every value, and saving again gives the same bytes", async () => {
    const [dir, again] = [fresh(), fresh()];
    const model = await trained({ rank: 3, dropout: 0.25, layersToTransform: [1] });
    await saveAdapter(model, { dir });
    const loaded = new PeftModel(tinyModel());
    const { missing, unexpected, adapter } = await loadAdapter(loaded, { dir, methods });
    expect({ missing, unexpected }).toEqual({ missing: [], unexpected: [] });
    expect(adapter.config).toMatchObject({ rank: 3, dropout: 0.25, layersToTransform: [1] });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
    await saveAdapter(loaded, { dir: again });
    for (const name of readdirSync(dir))
      expect(readFileSync(join(again, name)).equals(readFileSync(join(dir, name))), name).toBe(true);
  });

  it("keeps keys that it does not know", async () => {
    const [dir, again] = [fresh(), fresh()];
    await saveAdapter(await trained(), { dir });
    const extra = {
      ...readConfig(dir),
      peft_version: "0.99",
      new_option: { b: [1, { c: null }] },
      revision: "main",
      added_kind: "fancy",
      inference_mode: false,
    };
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(extra));
    const model = new PeftModel(tinyModel());
    await loadAdapter(model, { dir, methods });
    await saveAdapter(model, { dir: again });
    expect(readConfig(again)).toEqual({ ...extra, inference_mode: true });
  });

  it("widens half precision", async () => {
    const dir = fresh();
    const model = await trained();
    await saveAdapter(model, { dir, dtype: "BF16" });
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods });
    expect(loaded.trainable()["default.classifier.weight"]).toBeAllClose(
      model.trainable()["default.classifier.weight"] as HostTensor,
      tol.bfloat16,
    );
  });

  it.each<[string, (name: string) => string]>([
    ["no prefix", (name) => name.replace(P, "")],
    ["the adapter's name inside", (name) => name.replace(/(added_[AB])\.weight/u, "$1.default.weight")],
    ["wrappers around saved modules", (name) => name.replace("classifier.", "classifier.modules_to_save.default.")],
  ])("accepts names with %s", async (_, spell) => {
    const dir = fresh();
    const model = await trained();
    await saveAdapter(model, { dir });
    const tensors = await readTensors(dir);
    await writeSafetensors(
      join(dir, "adapter_model.safetensors"),
      new Map([...tensors].map(([name, tensor]) => [spell(name), tensor])),
    );
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });

  it("takes renamed modules through keyMapping", async () => {
    const dir = fresh();
    const model = await trained();
    await saveAdapter(model, { dir });
    const tensors = await readTensors(dir);
    await writeSafetensors(
      join(dir, "adapter_model.safetensors"),
      new Map([...tensors].map(([name, tensor]) => [name.replace("body.", "trunk."), tensor])),
    );
    const loaded = new PeftModel(tinyModel());
    await expect(loadAdapter(loaded, { dir, methods })).rejects.toThrow(/looks like .*: `keyMapping` renames/u);
    await loadAdapter(loaded, { dir, methods, keyMapping: { "\\.trunk\\.": ".body." } });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });

  it("takes a base module in the file as saved although the config does not list it", async () => {
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    const bias: HostTensor = { dtype: "float32", shape: [4], data: Float32Array.of(1, 2, 3, 4) };
    await rewrite(dir, (tensors) => tensors.set(`${P}body.layer.1.value.bias`, bias));
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods });
    expect(loaded.mergeAndUnload().parameters.get("body.layer.1.value.bias")?.data).toEqual(bias.data);
  });

  it("restores trained base parameters, those of adapted layers beneath the wrapper's name", async () => {
    const method = {
      ...added,
      name: "biased",
      wire: { ...added.wire, peftType: "BIASED" },
      trains: ({ name }: { name: string }) => name.endsWith("query.bias"),
    };
    const model = await peft(tinyModel()).use(method, { layersToTransform: 1 }).apply();
    fill(model, 2);
    const dir = fresh();
    await saveAdapter(model, { dir });
    const names = [...(await readTensors(dir)).keys()];
    expect(names).toContain(`${P}body.layer.1.query.base_layer.bias`);
    expect(names).toContain(`${P}body.layer.0.query.bias`);
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods: new MethodRegistry().use(method) });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });
});

describe("loadAdapter refuses, and leaves the model as it was,", () => {
  async function failure(
    prepare: (dir: string) => unknown,
    base: BaseModel = tinyModel(),
  ): Promise<Error & { code?: string }> {
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    await prepare(dir);
    const model = new PeftModel(base);
    const error = await loadAdapter(model, { dir, methods }).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(Error);
    expect(model.adapters.size).toBe(0);
    return error as Error & { code?: string };
  }
  const config =
    (changes: object) =>
    (dir: string): void =>
      writeFileSync(join(dir, "adapter_config.json"), JSON.stringify({ ...readConfig(dir), ...changes }));

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
      /trained with another head, or none/u,
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
      config({ target_modules: ["q_proj"] }),
      "TARGET_NOT_FOUND",
      /No layer matches \["q_proj"\]/u,
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

  it("unless told not to be strict: the rest is loaded and reported", async () => {
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    await rewrite(dir, (tensors) => {
      tensors.delete(`${P}classifier.bias`);
      tensors.set("other", zeros([1]));
    });
    const model = new PeftModel(tinyModel());
    const report = await loadAdapter(model, { dir, methods, strict: false });
    expect(report.missing).toEqual([`${P}classifier.bias`]);
    expect(report.unexpected).toEqual(["other"]);
    expect(model.trainable()["default.classifier.bias"]?.data).toEqual(
      tinyModel().parameters.get("classifier.bias")?.data,
    );
  });
});

describe("MethodRegistry", () => {
  it("finds by name with near misses, and keeps names unique", () => {
    expect(methods.get("added")).toBe(added);
    expect(methods.list()).toHaveLength(1);
    expect(() => methods.get("aded")).toThrow(/No method is called "aded". Did you mean "added"\? Registered: added/u);
    expect(() => new MethodRegistry().use(added).use({ ...added })).toThrow(
      expect.objectContaining({ code: "METHOD_EXISTS" }),
    );
  });
});

const publicAdapters = fileURLToPath(new URL("../../../../shared/data/adapters/", import.meta.url));

const publicNames = existsSync(publicAdapters) ? readdirSync(publicAdapters) : [];

describe.skipIf(publicNames.length === 0)("a config that the Python library wrote", () => {
  it.each(publicNames)("comes back as it was: %s", async (name) => {
    const { fromAdapterConfig, serializeConfig } = await import("./checkpoint/adapterConfig.ts");
    const text = readFileSync(join(publicAdapters, name, "adapter_config.json"), "utf8");
    const json = JSON.parse(text) as Record<string, unknown>;
    expect(serializeConfig(json)).toBe(text.replace(/: (\d+)\.0(?=[,\n])/gu, ": $1"));
    const method = added as unknown as Parameters<typeof fromAdapterConfig>[0];
    const { config, rest } = fromAdapterConfig(method, json);
    expect(config["targetModules"]).toEqual(json["target_modules"]);
    expect(rest["megatron_core"]).toBe("megatron.core");
  });
});
