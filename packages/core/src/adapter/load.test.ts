import { installMatchers, tol } from "@peftjs/testkit";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { changeConfig, fresh, methods, P, readConfig, readTensors, rewrite, trained } from "../../test/folders.ts";
import { added, fill, logits, tinyModel } from "../../test/tiny.ts";
import {
  float32,
  loadAdapter,
  MethodRegistry,
  peft,
  PeftModel,
  saveAdapter,
  zeros,
  type HostTensor,
} from "../index.ts";

installMatchers();

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
    const extra = { peft_version: "0.99", new_option: { b: [1, { c: null }] }, revision: "main", added_kind: "fancy" };
    changeConfig(dir, { ...extra, inference_mode: false });
    const before = readConfig(dir);
    const model = new PeftModel(tinyModel());
    await loadAdapter(model, { dir, methods });
    await saveAdapter(model, { dir: again });
    expect(readConfig(again)).toEqual({ ...before, inference_mode: true });
  });

  it("reads files of other versions: few keys, null for a default, lists that repeat, run-time settings", async () => {
    const [dir, again] = [fresh(), fresh()];
    const model = await trained();
    await saveAdapter(model, { dir });
    const heads = ["classifier", "score", "classifier", "score"];
    const json = { peft_type: "added", target_modules: ["query"], added_dropout: null, modules_to_save: heads };
    writeFileSync(join(dir, "adapter_config.json"), JSON.stringify({ ...json, runtime_config: { offload: true } }));
    const warnings: string[] = [];
    const loaded = new PeftModel(tinyModel());
    const { adapter } = await loadAdapter(loaded, { dir, methods, onWarning: (message) => warnings.push(message) });
    expect(adapter.config).toMatchObject({ rank: 2, dropout: 0 });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
    expect(warnings).toEqual([
      expect.stringMatching(/peft_type "added"\. It is read as "ADDED"/u),
      expect.stringMatching(/holds a runtime_config\. It is passed over/u),
    ]);
    await saveAdapter(loaded, { dir: again });
    expect(readConfig(again)).toMatchObject({ peft_type: "ADDED", modules_to_save: ["classifier", "score"] });
    expect(readConfig(again)).not.toHaveProperty("runtime_config");
  });

  it("takes a task's head as saved although the list is null, and leaves it null", async () => {
    const [dir, again] = [fresh(), fresh()];
    const model = await trained();
    await saveAdapter(model, { dir });
    changeConfig(dir, { modules_to_save: null });
    const loaded = new PeftModel(tinyModel());
    const { adapter } = await loadAdapter(loaded, { dir, methods });
    expect(adapter.modulesToSave).toEqual(["classifier"]);
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
    await saveAdapter(loaded, { dir: again });
    expect(readConfig(again)).toEqual(readConfig(dir));
    await rewrite(dir, (tensors) => tensors.delete(`${P}classifier.weight`));
    await expect(loadAdapter(new PeftModel(tinyModel()), { dir, methods })).rejects.toThrow(/module "classifier"/u);
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
    await rewrite(dir, (tensors) => new Map([...tensors].map(([name, tensor]) => [spell(name), tensor])));
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir, methods });
    expect(logits(loaded)).toBeAllClose(logits(model), tol.exact);
  });

  it("takes renamed modules through keyMapping", async () => {
    const dir = fresh();
    const model = await trained();
    await saveAdapter(model, { dir });
    await rewrite(
      dir,
      (tensors) => new Map([...tensors].map(([name, tensor]) => [name.replace("body.", "trunk."), tensor])),
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

  it("loads what is there when it is not strict, and reports the rest", async () => {
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

  it("draws what the file lacks when it is not strict, and calibrates nothing", async () => {
    const dir = fresh();
    await saveAdapter(await trained(), { dir });
    await rewrite(dir, (tensors) => tensors.delete(`${P}body.layer.1.query.added_A.weight`));
    const calibrated = { ...added, calibrate: () => Promise.reject(new Error("calibrated")) };
    const model = new PeftModel(tinyModel());
    await loadAdapter(model, { dir, methods: new MethodRegistry().use(calibrated), strict: false });
    const fresh1 = await peft(tinyModel()).use(added).apply();
    const key = "default.body.layer.1.query.a";
    expect(model.trainable()[key]).toEqual(fresh1.trainable()[key]);
    expect(model.trainable()[key]?.data.some((value) => value !== 0)).toBe(true);
    const saved = (await readTensors(dir)).get(`${P}body.layer.0.query.added_A.weight`);
    expect(model.trainable()["default.body.layer.0.query.a"]).toEqual(saved);
  });

  it("takes the whole table of an adapted embedding where it is another one, and keeps it", async () => {
    const targets = { targetModules: ["embed", "query"] };
    const method = {
      ...added,
      forward: (context: Parameters<NonNullable<typeof added.forward>>[0]) =>
        context.site.kind === "embedding" ? context.base(context.x) : (added.forward?.(context) as never),
    };
    const registry = new MethodRegistry().use(method);
    const model = await peft(tinyModel()).use(method, targets).apply();
    const [same, other, again] = [fresh(), fresh(), fresh()];
    const key = `${P}body.embed.base_layer.weight`;
    await saveAdapter(model, { dir: same, saveEmbeddingLayers: true });
    expect((await readTensors(same)).get(key)).toEqual(model.base.parameters.get("body.embed.weight"));
    const loaded = new PeftModel(tinyModel());
    await loadAdapter(loaded, { dir: same, methods: registry });
    expect(loaded.adapters.get("default")?.overrides.has("body.embed.weight")).toBe(false);

    const table = float32(new Float32Array(20).fill(0.5), [5, 4]);
    await saveAdapter(model, { dir: other, saveEmbeddingLayers: true });
    await rewrite(other, (tensors) => tensors.set(key, table));
    const changed = new PeftModel(tinyModel());
    await loadAdapter(changed, { dir: other, methods: registry });
    expect(logits(changed)).not.toBeAllClose(logits(model), tol.float32);
    expect(changed.frozen()["default.body.embed.weight"]).toEqual(table);
    await saveAdapter(changed, { dir: again });
    expect((await readTensors(again)).get(key)).toEqual(table);
    await saveAdapter(model, { dir: again });
    expect((await readTensors(again)).has(key)).toBe(false);
  });
});
