import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAdapter, MethodRegistry, PeftModel, saveAdapter } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";
import { createEngine } from "@peftjs/engine";
import type { Engine } from "@peftjs/engine";
import { fromPretrained } from "@peftjs/models";
import { compiledEngine, eagerEngine } from "@peftjs/testkit";
import { readTensors, relativeDifference } from "@peftjs/testkit/conformance";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { lora } from "../src/index.ts";

/** Written by fixtures/tokens/make.py with the Python libraries. */
const fixtures = fileURLToPath(new URL("../../../fixtures", import.meta.url));
const cases = [
  ["classifier", "lora/roberta/base", "roberta"],
  ["masked-lm", "models/bert-masked-lm", "bert"],
] as const;
const methods = new MethodRegistry().use(lora);
const TOKENS = "token_adapter.trainable_tokens_delta";

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

async function run(
  model: PeftModel,
  { engine, batch }: { readonly engine: Engine; readonly batch: Named<HostTensor> },
): Promise<{ readonly logits: HostTensor; readonly loss: HostTensor; readonly gradients: Named<HostTensor> }> {
  const program = engine.compile(({ frozen = {}, trainable = {}, batch: inputs = {} }) => {
    const { logits } = model.forward({ frozen, trainable }, inputs, { training: false });
    const names = Object.keys(trainable);
    const loss = (...parts: tf.Tensor[]): tf.Scalar => {
      const named = Object.fromEntries(names.map((name, i) => [name, parts[i] as tf.Tensor]));
      return model.loss({ frozen, trainable: named }, inputs, { training: true });
    };
    const parts = names.length === 0 ? [] : tf.grads(loss)(Object.values(trainable));
    return {
      results: { logits: logits as tf.Tensor, loss: loss(...Object.values(trainable)) },
      gradients: Object.fromEntries(names.map((name, i) => [name, parts[i] as tf.Tensor])),
    };
  });
  const { results, gradients } = await program.run({ frozen: model.frozen(), trainable: model.trainable(), batch });
  await program.dispose();
  const { logits, loss } = results as Record<"logits" | "loss", HostTensor>;
  return { logits, loss, gradients: gradients ?? {} };
}

/** Python's name of a parameter that learns, from ours. */
function pythonName(key: string): string {
  const wire = key
    .slice("default.".length)
    .replace(/\.([ab])$/u, (_, short: string) => `.${lora.wire.tensors[short] as string}`)
    .replace(/\.tokenRows$/u, `.${TOKENS}`)
    .replace(/^classifier\./u, "classifier.modules_to_save.");
  return `gradient.base_model.model.${wire}`;
}

describe.each([
  ["compiled", compiledEngine],
  ["eager", eagerEngine],
] as const)("trained token rows against Python, %s", (_, settings) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine(settings);
  });

  it.each(cases)("%s: logits, loss and gradients", async (name, base) => {
    const { model, values, batch } = await load(name, base);
    const expected = (key: string): ArrayLike<number> => (values.get(key) as HostTensor).data;
    const { logits, loss, gradients } = await run(model, { engine, batch });
    expect(relativeDifference(logits.data, expected("logits.adapter"))).toBeLessThan(1e-5);
    expect(relativeDifference(loss.data, expected("loss"))).toBeLessThan(1e-5);
    expect(relativeDifference(expected("logits.adapter"), expected("logits.base"))).toBeGreaterThan(1e-2);
    const names = [...values.keys()].filter((key) => key.startsWith("gradient."));
    expect(Object.keys(gradients).map(pythonName).sort()).toEqual(names.sort());
    for (const [key, gradient] of Object.entries(gradients))
      expect(relativeDifference(gradient.data, expected(pythonName(key))), key).toBeLessThan(1e-5);
    const off = await model.disable(() => run(model, { engine, batch }));
    expect(relativeDifference(off.logits.data, expected("logits.base"))).toBeLessThan(1e-5);
    model.merge({ safe: true });
    const merged = await run(model, { engine, batch });
    expect(relativeDifference(merged.logits.data, expected("logits.merged"))).toBeLessThan(1e-5);
    expect(relativeDifference(merged.logits.data, expected("logits.adapter"))).toBeLessThan(1e-5);
  });
});

describe("files with trained token rows", () => {
  it.each(cases)("%s: the same names, values and setting as Python's", async (name, base, trunk) => {
    const { dir, model } = await load(name, base);
    const again = mkdtempSync(join(tmpdir(), "peftjs-tokens-"));
    try {
      await saveAdapter(model, { dir: again });
      const file = "adapter_model.safetensors";
      const [written, read] = [await readTensors(join(again, file)), await readTensors(join(dir, file))];
      expect([...written.keys()]).toContain(`base_model.model.${trunk}.embeddings.word_embeddings.${TOKENS}`);
      expect([...written.keys()].sort()).toEqual([...read.keys()].sort());
      for (const [key, tensor] of read) expect(written.get(key), key).toEqual(tensor);
      const setting = (folder: string): unknown =>
        (JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")) as Record<string, unknown>)[
          "trainable_token_indices"
        ];
      expect(setting(again)).toEqual(setting(dir));
      expect(setting(again)).toBeDefined();
    } finally {
      rmSync(again, { recursive: true });
    }
  });
});
