import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Method, Named } from "@peftjs/core";
import { fromPretrained } from "@peftjs/models";
import { scratchFolders } from "@peftjs/testkit";
import {
  describeOnEngines,
  expectSameFiles,
  logits,
  lossProgram,
  pythonName,
  readAdapterConfig,
  readAdapterTensors,
  readTensors,
  relativeDifference,
} from "@peftjs/testkit/conformance";
import { describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";

/** Written by fixtures/tokens/make.py with the Python libraries. */
const fixtures = fileURLToPath(new URL("../../../fixtures", import.meta.url));
const cases = [
  ["classifier", "lora/roberta/base", "roberta"],
  ["masked-lm", "models/bert-masked-lm", "bert"],
] as const;
const methods = new MethodRegistry().use(lora);

interface Reference {
  readonly dir: string;
  readonly model: PeftModel;
  readonly values: ReadonlyMap<string, HostTensor>;
  readonly batch: Named<HostTensor>;
}

async function load(name: string, base: string, adapterDir?: string): Promise<Reference> {
  const dir = join(fixtures, "tokens", name, "adapter");
  const pretrained = await fromPretrained(join(fixtures, base));
  // Python leaves it out where rows of the shared table are trained, unless merged: the reference sets it to zero.
  pretrained.parameters.get("cls.predictions.bias")?.data.fill(0);
  const model = new PeftModel(pretrained);
  await loadAdapter(model, { dir: adapterDir ?? dir, methods });
  const values = await readTensors(join(fixtures, "tokens", name, "values.safetensors"));
  const batch = ["input_ids", "attention_mask", "labels"].map((key) => [key, values.get(`batch.${key}`)] as const);
  return { dir, model, values, batch: Object.fromEntries(batch) as Named<HostTensor> };
}

describeOnEngines("trained token rows against Python", (engine) => {
  it.each(cases)("%s: logits, loss and gradients", async (name, base) => {
    const { model, values, batch } = await load(name, base);
    const expected = (key: string): ArrayLike<number> => (values.get(key) as HostTensor).data;
    const output = async (): Promise<ArrayLike<number>> => (await logits(model, { engine: engine(), batch })).data;
    const program = lossProgram(model, engine());
    const { loss, gradients } = await program.run(batch);
    await program.dispose();
    expect(relativeDifference(await output(), expected("logits.adapter"))).toBeLessThan(1e-5);
    expect(relativeDifference([loss], expected("loss"))).toBeLessThan(1e-5);
    expect(relativeDifference(expected("logits.adapter"), expected("logits.base"))).toBeGreaterThan(1e-2);
    const names = [...values.keys()].flatMap((key) => key.split(/^gradient\./u)[1] ?? []);
    const inPython = (key: string): string => pythonName(lora as unknown as Method, key, names);
    expect(Object.keys(gradients).map(inPython).sort()).toEqual(names.sort());
    for (const [key, gradient] of Object.entries(gradients))
      expect(relativeDifference(gradient.data, expected(`gradient.${inPython(key)}`)), key).toBeLessThan(1e-5);
    const off = await model.disable(output);
    expect(relativeDifference(off, expected("logits.base"))).toBeLessThan(1e-5);
    model.merge({ safe: true });
    const merged = await output();
    expect(relativeDifference(merged, expected("logits.merged"))).toBeLessThan(1e-5);
    expect(relativeDifference(merged, expected("logits.adapter"))).toBeLessThan(1e-5);
  });
});

describe("files with trained token rows", () => {
  const fresh = scratchFolders();

  it.each(cases)("%s: the same names, values and setting as Python's", async (name, base, trunk) => {
    const { dir, model } = await load(name, base);
    const again = await saveAdapter(model, { dir: fresh() });
    await expectSameFiles(again, dir);
    const table = `base_model.model.${trunk}.embeddings.word_embeddings`;
    expect([...(await readAdapterTensors(again)).keys()]).toContain(`${table}.token_adapter.trainable_tokens_delta`);
    expect(readAdapterConfig(again)["trainable_token_indices"]).toBeDefined();
  });
});
