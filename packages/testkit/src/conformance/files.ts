import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAdapter, MethodRegistry, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Method } from "@peftjs/core";
import { expect, it } from "vitest";
import { tol } from "../close.ts";
import { scratchFolders } from "../folders.ts";
import { compareAllClose } from "../matchers.ts";
import { readAdapterConfig, readAdapterTensors } from "./adapterFolder.ts";
import type { Setting } from "./outputs.ts";
import { attached, logits, train } from "./run.ts";
import { batchAt, tinyModel } from "./subjects.ts";

/** Saved, loaded, saved again; beside another adapter. In the form that the method itself reads, where another one stands on its own. */
export function checkFiles({ suite, subject, family, engine }: Setting): void {
  const { method } = suite;
  const batch = batchAt(family, 0);
  const run = (model: PeftModel): Promise<HostTensor> => logits(model, { engine: engine(), batch });
  const methods = readersOf(method);
  const fresh = scratchFolders();

  async function trained(): Promise<PeftModel> {
    const model = await attached(subject, { family, engine: engine() });
    await train(model, { family, engine: engine(), steps: 5 });
    return model;
  }

  it("saved and loaded, it gives the same output, and saved again the same bytes", async () => {
    const model = await trained();
    const expected = await run(model);
    const dir = await saveAdapter(model, { dir: fresh(), native: true });
    const again = new PeftModel(tinyModel(family));
    const report = await loadAdapter(again, { dir, methods });
    expect([report.missing, report.unexpected]).toEqual([[], []]);
    const { pass, message } = compareAllClose(await run(again), expected, suite.tolerance ?? tol.deep);
    expect(pass, message()).toBe(true);
    const other = await saveAdapter(again, { dir: fresh(), native: true });
    for (const file of ["adapter_model.safetensors", "adapter_config.json"]) {
      expect(readFileSync(join(other, file)).equals(readFileSync(join(dir, file))), file).toBe(true);
    }
  });

  it("its file names tensors and settings as the Python library does", async () => {
    const dir = await saveAdapter(await trained(), { dir: fresh() });
    const json = readAdapterConfig(dir);
    expect(json).toMatchObject({ peft_type: method.wire.peftType, task_type: "SEQ_CLS", inference_mode: true });
    expect(json["modules_to_save"]).toEqual(["classifier", "score"]);
    const names = [...(await readAdapterTensors(dir)).keys()];
    expect(names.length).toBeGreaterThan(0);
    const modules = [...tinyModel(family).parameters.keys()].map((name) => name.split(".")[0]);
    const module = `(${[...new Set(modules)].join("|")})\\.`;
    // Virtual tokens wrap no layer of the model.
    const onLayers = method.virtualTokens === undefined;
    const prefix = new RegExp(
      onLayers ? `^base_model\\.model\\.${module}` : `^(base_model\\.${module}|prompt_embeddings$)`,
    );
    for (const name of names) {
      expect(name).toMatch(prefix);
      expect(name).not.toContain(".default.");
    }
    expect(readFileSync(join(dir, "README.md"), "utf8")).toMatch(/^library_name: peft$/m);
  });

  it("a second one loads beside the first, and a refused file changes nothing", async () => {
    const model = await trained();
    const expected = await run(model);
    const dir = await saveAdapter(model, { dir: fresh(), native: true });
    await loadAdapter(model, { dir, methods, adapterName: "second" });
    expect(model.active).toEqual(["default"]);
    expect((await run(model)).data).toEqual(expected.data);
    await expect(loadAdapter(model, { dir, methods: new MethodRegistry(), adapterName: "third" })).rejects.toThrow();
    expect([...model.adapters.keys()]).toEqual(["default", "second"]);
  });
}

/** Some methods write the files of another type, and leave reading them to that type's method. */
export function readersOf(method: Method): MethodRegistry {
  return new MethodRegistry().use({ ...method, wire: { ...method.wire, accepts: () => true } });
}
